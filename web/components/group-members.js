// The members of a group: the owner and the admins first, then by name; those of a channel by user id, as far as one
// scrolls. A search finds members by name; pressing a member opens a menu with what the user may do.

import { moveFocus } from "../focus.js";
import { displayName, userName } from "../format.js";
import { isMember } from "../groups.js";
import { isForInputMethod } from "../keys.js";
import { dialogTexts } from "../languages/dialogs.js";
import { locale, texts } from "../languages/language.js";
import { h, memo } from "../view.js";
import { avatar, onlineWord } from "./avatar.js";
import { failure, skeletonRows } from "./empty.js";
import { Growing } from "./incremental-list.js";
import { menuItems } from "./menu.js";
import { Modal } from "./modal.js";
import { hasWords, wordsOf } from "./people-search.js";
import { placeBeside, setExpanded } from "./popover-position.js";
import { searchBox } from "./search-box.js";

/** @import {App} from "./app-shell.js" */
/** @import {Choice} from "./menu.js" */
/** @import {ChannelMembers} from "../stores/channel-members.js" */
/** @import {Profile} from "../types.js" */
/** @import {Member, Role} from "../wire.js" */

/** The place in the list of the roles that come first; all others are sorted by name. @type {Partial<Record<Role, number>>} */
const FIRST = { ROLE_OWNER: 0, ROLE_ADMIN: 1 };
const OTHERS = 2;

/** The name of a role; empty for a member without a special one. @param {Role} [role] */
export function roleName(role) {
  const { owner, admin, guest } = dialogTexts.group;
  const names = { ROLE_OWNER: owner, ROLE_ADMIN: admin, ROLE_GUEST: guest, ROLE_MEMBER: "", ROLE_UNSPECIFIED: "" };
  return names[role ?? "ROLE_UNSPECIFIED"];
}

/**
 * Members in the order of the list.
 * @param {readonly Member[]} members
 * @param {(user_id: string) => string} nameOf a user; empty while it is loading
 */
export function inOrder(members, nameOf) {
  const { compare } = new Intl.Collator(locale);
  const rank = (/** @type {Member} */ { role }) => FIRST[role ?? "ROLE_MEMBER"] ?? OTHERS;
  const named = members.map((member) => ({ member, name: nameOf(member.user_id) }));
  named.sort((a, b) => rank(a.member) - rank(b.member) || compare(a.name, b.name));
  return named.map(({ member }) => member);
}

export class GroupMembers {
  #app;
  #modal;
  #chat_id;
  #choicesOf;
  #growing;
  #search = "";
  /** Of a channel, once its module is loaded. @type {ChannelMembers | null} */
  #pages = null;
  /** @type {"new" | "loading" | "failed"} of that module */
  #pagesPhase = "new";
  /** The members in order, and of which they were made. */
  #ordered = { members: /** @type {readonly Member[] | null} */ (null), list: /** @type {readonly Member[]} */ ([]) };
  /** @type {HTMLInputElement | undefined} */
  #input;
  /** @type {HTMLElement | undefined} */
  #menu;
  /** @type {HTMLElement | null} */
  #opener = null;
  /** @type {readonly Choice[]} */
  #choices = [];

  /**
   * @param {Pick<App, "api" | "chats">} app
   * @param {Modal} modal that shows it
   * @param {string} chat_id
   * @param {(member: Member) => readonly Choice[]} choicesOf the menu of a member
   */
  constructor(app, modal, chat_id, choicesOf) {
    this.#app = app;
    this.#modal = modal;
    this.#chat_id = chat_id;
    this.#choicesOf = choicesOf;
    this.#growing = new Growing(modal);
    const { profiles, presence } = app.chats;
    modal.element.addEventListener("close", profiles.subscribe(() => (this.#ordered.members = null)));
    modal.element.addEventListener("close", () => presence.watch("members", []));
  }

  /** Moves the focus to the search. */
  focus() {
    this.#input?.focus();
  }

  view() {
    const { chats } = this.#app;
    const pages = this.#pages;
    if (!pages && chats.isChannel(this.#chat_id)) return this.#waiting();
    const { phase, members } = pages ?? chats.rosters.of(this.#chat_id);
    const load = () => void (pages ?? chats.rosters).load(this.#chat_id);
    const failed = phase === "failed" && failure(dialogTexts.groupPanel.notLoaded, load);
    if (failed && !(pages && (members.length || this.#search))) return failed;
    const known = members.filter(({ user_id }) => this.#isKnown(user_id));
    const isReady = pages ? phase !== "loading" : members.length > 0 && known.length === members.length;
    if (!isReady) return memo("waiting", [], () => skeletonRows(4));
    const found = pages ? known : this.#found(members);
    const part = this.#growing.part(found);
    if (pages?.canGrow && part.length >= members.length) void pages.load();
    const isCounted = this.#search && (!pages || pages.areFound);
    const counted = pages?.arePartial ? dialogTexts.groupPanel.foundSome : dialogTexts.groupPanel.found;
    const count = pages?.canGrow || pages?.arePartial ? -1 : found.length;
    const isOnPage = this.#modal.element.isConnected; // a closed modal may be rendered once more
    this.#app.chats.presence.watch("members", isOnPage ? part.map(({ user_id }) => user_id) : []);
    const search = {
      ref: (/** @type {HTMLInputElement} */ element) => void (this.#input = element),
      oninput: () => this.#find(this.#input?.value.trim() ?? ""),
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "ArrowDown" || isForInputMethod(event)) return;
        event.preventDefault();
        this.#rows()[0]?.focus();
      },
    };
    const list = {
      ...{ class: "list members", role: "list", "aria-label": dialogTexts.groupPanel.members, tabindex: -1, key: "list" },
      onkeydown: (/** @type {KeyboardEvent} */ event) => moveFocus(event, this.#rows()),
    };
    return [
      searchBox(dialogTexts.groupPanel.search, search),
      h("p", { class: "note", role: "status", key: "found" }, isCounted && counted(found.length)),
      h("ul", list, part.map((member, at) => this.#row(member, at, count))),
      failed,
      this.#menuView(),
    ];
  }

  /** What is shown until the module of a channel's members is loaded. */
  #waiting() {
    if (this.#pagesPhase === "new") void this.#loadPages();
    if (this.#pagesPhase === "failed") return failure(dialogTexts.groupPanel.notLoaded, () => void this.#loadPages());
    return skeletonRows(4);
  }

  async #loadPages() {
    this.#pagesPhase = "loading";
    try {
      const { ChannelMembers } = await import("../stores/channel-members.js");
      const pages = new ChannelMembers(this.#app, this.#chat_id);
      this.#app.chats.onControl = (chat_id, control) => chat_id === this.#chat_id && pages.fold(control);
      this.#modal.element.addEventListener("close", () => (this.#app.chats.onControl = () => {}));
      this.#modal.follow(pages);
      this.#pages = pages;
    } catch {
      this.#pagesPhase = "failed";
    }
    this.#modal.root.invalidate();
  }

  /** Whether the profile of a user is loaded, or does not exist. @param {string} user_id */
  #isKnown(user_id) {
    const { profiles } = this.#app.chats;
    return profiles.get(user_id) !== undefined || profiles.isMissing(user_id);
  }

  /** The members whom the search finds, in order. @param {readonly Member[]} members */
  #found(members) {
    const { profiles } = this.#app.chats;
    if (this.#ordered.members !== members) {
      const list = inOrder(members, (user_id) => nameOf(profiles.get(user_id)));
      this.#ordered = { members, list };
    }
    if (!this.#search) return this.#ordered.list;
    const words = wordsOf(this.#search);
    return this.#ordered.list.filter(({ user_id }) => {
      const profile = profiles.get(user_id);
      return profile && hasWords(profile, words);
    });
  }

  /** @param {string} text */
  #find(text) {
    this.#search = text;
    this.#pages?.find(text);
    this.#growing.reset();
    this.#modal.root.invalidate();
  }

  /** @param {Member} member @param {number} at its place @param {number} count -1: not known */
  #row(member, at, count) {
    const { user_id, role } = member;
    const { me, profiles, presence } = this.#app.chats;
    const profile = profiles.get(user_id);
    const isOnline = presence.isOnline(user_id);
    return memo(user_id, [profile, role, at, count, isOnline], () =>
      h(
        "li",
        { "aria-posinset": at + 1, "aria-setsize": count },
        h(
          "button",
          {
            ...{ class: "row", type: "button", "aria-haspopup": "menu", "aria-expanded": "false" },
            onclick: (/** @type {Event} */ event) => this.#openMenu(event, user_id),
          },
          memberRow(profile, user_id === me.user_id, isOnline),
          roleName(role) && h("span", { class: "role" }, roleName(role)),
        ),
      ),
    );
  }

  /** @param {Event} event @param {string} user_id */
  #openMenu({ currentTarget }, user_id) {
    const { members } = this.#pages ?? this.#app.chats.rosters.of(this.#chat_id);
    const member = members.find((each) => each.user_id === user_id);
    this.#choices = member && isMember(member) ? this.#choicesOf(member) : [];
    if (!this.#choices.length) return;
    this.#opener = /** @type {HTMLElement} */ (currentTarget);
    this.#modal.root.render();
    this.#menu?.showPopover();
    if (this.#menu) placeBeside(this.#menu, this.#opener);
  }

  #menuView() {
    const props = {
      ...{ class: "menu", role: "menu", "aria-label": dialogTexts.groupMember.menu, popover: "auto", key: "menu" },
      ref: (/** @type {HTMLElement} */ element) => void (this.#menu = element),
      ontoggle: (/** @type {ToggleEvent} */ event) => this.#opener && setExpanded(this.#opener, event.newState === "open"),
      onkeydown: (/** @type {KeyboardEvent} */ event) => moveFocus(event, this.#items()),
    };
    return h("div", props, menuItems(this.#choices, () => this.#menu?.hidePopover()));
  }

  #items() {
    return /** @type {HTMLElement[]} */ ([...(this.#menu?.children ?? [])]);
  }

  #rows() {
    return /** @type {HTMLElement[]} */ ([...this.#modal.element.querySelectorAll(".members .row")]);
  }
}

/** @param {Profile | undefined} profile */
export const nameOf = (profile) => (profile ? displayName(profile) : texts.message.someone);

/**
 * The avatar and the names of a member.
 * @param {Profile | undefined} profile
 * @param {boolean} isMe
 * @param {boolean} [isOnline]
 */
export const memberRow = (profile, isMe, isOnline = false) => [
  avatar(profile, isOnline),
  h("span", { class: "name", dir: "auto" }, nameOf(profile)),
  onlineWord(isOnline),
  h("span", { class: "preview" }, isMe ? texts.message.you : h("bdi", {}, profile ? userName(profile) : "")),
];
