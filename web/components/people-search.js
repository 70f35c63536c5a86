// Search results while the user types: loaded chats, also groups, at once, and people from the server a moment later.

import { isSearchable, NoResponse } from "../api.js";
import { directChatId } from "../chats.js";
import { moveFocus } from "../focus.js";
import { displayName, userName } from "../format.js";
import { isFormer, may } from "../groups.js";
import { texts } from "../languages/language.js";
import { h, memo } from "../view.js";
import { avatar, groupAvatar } from "./avatar.js";
import { emptyState, failure, skeletonRows } from "./empty.js";

/** @import {App} from "./app-shell.js" */
/** @import {Chat, Profile} from "../types.js" */
/** @import {Child} from "../view.js" */

/** The pause in typing after which the request is sent. */
const PAUSE_MS = 200;

export class PeopleSearch {
  /** The searched text; empty while there is no search. */
  text = "";
  #app;
  #open;
  #isChosen;
  #isListed;
  /** The people that the server has found, perhaps for the text before. @type {readonly Profile[]} */
  #found = [];
  /** Whether the server has answered for the present text. */
  #isAnswered = false;
  #failure = "";
  /** Rises with each search, so that a late response to an older one is ignored. */
  #search = 0;
  /** @type {HTMLElement | undefined} */
  #element;

  /**
   * @param {Pick<App, "api" | "chats" | "root">} app
   * @param {(chat_id: string) => void} open
   * @param {(chat_id: string) => boolean} [isChosen] if rows choose chats instead of opening them
   * @param {(profile: Profile) => boolean} [isListed] if the search finds only some of the people
   */
  constructor(app, open, isChosen, isListed) {
    this.#app = app;
    this.#open = open;
    this.#isChosen = isChosen;
    this.#isListed = isListed;
  }

  /** @param {string} text an empty one ends the search */
  find(text) {
    const search = ++this.#search;
    this.text = text;
    this.#failure = "";
    this.#isAnswered = false;
    if (!text) this.#found = [];
    else setTimeout(() => search === this.#search && void this.#searchPeople(text, search), PAUSE_MS);
    this.#app.root.invalidate();
  }

  focusFirst() {
    this.#rows()[0]?.focus();
  }

  chooseFirst() {
    this.#app.root.render(); // the rows of the present text
    this.#rows()[0]?.click();
  }

  view() {
    const chats = this.text ? this.#chatsWith(this.text) : [];
    const props = {
      class: "scroller",
      hidden: this.text === "",
      ref: (/** @type {HTMLElement} */ element) => void (this.#element = element),
      onkeydown: (/** @type {KeyboardEvent} */ event) => moveFocus(event, this.#rows()),
    };
    return h(
      "rookery-people-search",
      props,
      h("div", {}, chats.length > 0 && [heading(texts.search.chats), this.rows(chats)]),
      h("div", { "aria-live": "polite" }, this.text ? this.#people(chats) : null),
    );
  }

  /** Words in any order, as the server finds people. @param {string} text */
  #chatsWith(text) {
    const { chats } = this.#app;
    const words = wordsOf(text);
    return this.usable(chats.all).filter(({ chat_id, group }) => {
      const named = chats.partner(chat_id) ?? (group && { display_name: chats.titleOf(chat_id), name: "" });
      return named && hasWords(named, words);
    });
  }

  /**
   * The chats that may be chosen, if rows choose chats: those in which the user may write, and with listed people only if
   * not all are.
   * @param {readonly Chat[]} all
   */
  usable(all) {
    const { chats } = this.#app;
    if (!this.#isChosen) return all;
    return all.filter((chat) => {
      const profile = chats.partner(chat.chat_id);
      if (this.#isListed && !(profile && this.#isListed(profile))) return false;
      return !chats.isClosed(chat.chat_id) && may(chat, "POST");
    });
  }

  /** The rows of chats whose names are known. @param {readonly Chat[]} all */
  rows(all) {
    const { chats } = this.#app;
    return all.map((chat) => {
      const { chat_id, group } = chat;
      const profile = chats.partner(chat_id);
      if (profile) return personRow(profile, chats.me, this.#open, this.#isChosen);
      const members = group && !isFormer(chat) ? texts.chat.members(group.member_count) : "";
      return group && groupRow(chat_id, chats.titleOf(chat_id), chats.pictureOf(chat_id), members, this.#open, this.#isChosen);
    });
  }

  /** @param {string} text @param {number} search */
  async #searchPeople(text, search) {
    void this.#app.chats.loadSearched();
    /** @type {readonly Profile[]} */
    let found = [];
    try {
      if (isSearchable(text)) found = (await this.#app.api.findPeople(text)).profiles;
    } catch (fault) {
      if (search === this.#search)
        this.#failure = fault instanceof NoResponse ? texts.search.noResponse : texts.search.failed;
    }
    if (search !== this.#search) return;
    this.#found = found;
    this.#isAnswered = true;
    this.#app.chats.profiles.put(found);
    this.#app.root.invalidate();
  }

  /** @param {readonly Chat[]} chats that match */
  #people(chats) {
    if (this.#failure) return memo("failed", [this.#failure], () => failure(this.#failure, () => this.find(this.text)));
    const known = new Set([this.#app.chats.me.user_id, ...chats.map(({ chat_id }) => this.#app.chats.otherOf(chat_id))]);
    const words = wordsOf(this.text);
    const found = this.#found.filter((profile) => this.#isAnswered || hasWords(profile, words));
    const others = found.filter((profile) => !known.has(profile.user_id) && this.#isListed?.(profile) !== false);
    const row = (/** @type {Profile} */ profile) => personRow(profile, this.#app.chats.me, this.#open, this.#isChosen);
    if (others.length) return [heading(texts.search.people), others.map(row)];
    if (!this.#isAnswered) return memo("waiting", [], () => skeletonRows(3));
    if (chats.length) return null;
    const isOnlyMe = this.#found.every(({ user_id }) => user_id === this.#app.chats.me.user_id);
    const title = this.#found.length && isOnlyMe ? texts.search.onlyYou : texts.search.nobody;
    const hint = this.#found.length ? texts.search.onlyYouHint(this.text) : texts.search.nobodyHint(this.text);
    return memo("none", [hint], () => emptyState(title, hint));
  }

  #rows() {
    return /** @type {HTMLElement[]} */ ([...(this.#element?.querySelectorAll("button.row") ?? [])]);
  }
}

/** The searched words. @param {string} text */
export function wordsOf(text) {
  const words = text.toLowerCase().split(/\s+/);
  return words.map((word) => word.replace(/^@+/, ""));
}

/**
 * Whether the names of a person or a group have all words, in any order.
 * @param {{display_name: string, name: string, deleted?: boolean}} named
 * @param {readonly string[]} words
 */
export function hasWords(named, words) {
  const names = `${displayName(named)} ${named.name}`.toLowerCase();
  return words.every((word) => names.includes(word));
}

/** @param {string} title */
const heading = (title) => h("h2", { class: "section", key: title }, title);

/**
 * A row of a list of people, which opens the chat with the person.
 * @param {Profile} profile
 * @param {Profile} me
 * @param {(chat_id: string) => void} open
 * @param {(chat_id: string) => boolean} [isChosen] if the row chooses the chat instead
 */
export function personRow(profile, me, open, isChosen) {
  const chat_id = directChatId(me.user_id, profile.user_id);
  const pressed = isChosen && String(isChosen(chat_id));
  return memo(chat_id, [profile, pressed], () =>
    row(() => open(chat_id), pressed, [avatar(profile), displayName(profile), h("bdi", {}, userName(profile))]),
  );
}

/**
 * @param {string} chat_id
 * @param {string} name
 * @param {string} picture its token; empty for none
 * @param {string} members their number, in words; empty for a group that the user has left
 * @param {(chat_id: string) => void} open
 * @param {(chat_id: string) => boolean} [isChosen] if the row chooses the chat instead
 */
function groupRow(chat_id, name, picture, members, open, isChosen) {
  const pressed = isChosen && String(isChosen(chat_id));
  return memo(chat_id, [name, picture, members, pressed], () =>
    row(() => open(chat_id), pressed, [groupAvatar(chat_id, name, picture), name, members]),
  );
}

/** @param {() => void} press @param {string | undefined} pressed @param {[Child, string, Child]} content */
function row(press, pressed, [face, name, detail]) {
  return h(
    "button",
    { class: "row", type: "button", "aria-pressed": pressed, onclick: press },
    face,
    h("span", { class: "name", dir: "auto" }, name),
    h("span", { class: "preview" }, detail),
  );
}
