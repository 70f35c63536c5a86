// The left pane: the user's chats, newest first, and the search for people and chats.

import { moveFocus } from "../focus.js";
import { fullTime, hasMoved, shortTime, unreadLabel } from "../format.js";
import { plainText } from "../formatting.js";
import { icon, mark } from "../icons.js";
import { isGroup } from "../ids.js";
import { isForInputMethod } from "../keys.js";
import { isDeleted } from "../kinds/deleted.js";
import { isHidden } from "../kinds/hidden.js";
import { pinnedFirst } from "../kinds/own.js";
import { texts } from "../languages/language.js";
import { shownPlain } from "../messages.js";
import { MAX_WATCHED } from "../presence.js";
import { h, memo, renderMemosAgain } from "../view.js";
import { chatAvatar, onlineWord } from "./avatar.js";
import { iconButton } from "./buttons.js";
import { chatChoices } from "./chat-choices.js";
import { ChatFilters, isShown } from "./chat-filters.js";
import { ContextMenu } from "./context-menu.js";
import { emptyState, failure, skeletonRows } from "./empty.js";
import { MenuButton } from "./menu.js";
import { findGroups, loadGroupDialogs, openDialog } from "./open-dialog.js";
import { PeopleSearch } from "./people-search.js";
import { searchBox } from "./search-box.js";
import { typingText } from "./typing-text.js";

/** @import {App} from "./app-shell.js" */
/** @import {Filter} from "./chat-filters.js" */
/** @import {Own} from "../kinds/own.js" */
/** @import {Unsent} from "../stores/sending.js" */
/** @import {Chat, Message} from "../types.js" */

/** The next page is fetched when this many screens of the list are left to scroll. */
const SCREENS_AHEAD = 1;
/** Shown characters of an unsent text: more than fit in a line. */
const PREVIEW_LENGTH = 200;
/** How often relative times such as "Mon" are rendered again, and the time zone is looked at. */
const MINUTE_MS = 60_000;

export class ChatList {
  #app;
  #menu;
  /** The menu of a chat. */
  #chatMenu;
  #results;
  /** Made when it is first opened. @type {import("./settings.js").SettingsDialog | null} */
  #settings = null;
  /** The group that is not created yet, with what is entered. @type {import("./new-group.js").NewGroup | null} */
  #newGroup = null;
  /** The start of a user without chats, once its module is loaded. @type {import("./start.js").Start | null} */
  #start = null;
  #filters;
  /** Whether the list shows the archived chats, while there are any. */
  #isArchiveShown = false;
  /** The chat that was opened from the list last: reading it does not take it out of a filtered list. */
  #opened = "";
  /** @type {HTMLInputElement | undefined} */
  #input;
  /** @type {HTMLElement | undefined} */
  #scroller;

  /** @param {App} app */
  constructor(app) {
    this.#app = app;
    this.#results = new PeopleSearch(app, (chat_id) => this.#open(chat_id));
    this.#menu = new MenuButton(texts.chats.menu, app.root.invalidate);
    this.#filters = new ChatFilters(app.root.invalidate);
    const choicesOf = (/** @type {HTMLElement} */ row) => this.#choicesOf(row.dataset["chat"] ?? "");
    this.#chatMenu = new ContextMenu(texts.chat.options, "button.row", choicesOf);
  }

  /** @param {AbortSignal} signal that ends it */
  start(signal) {
    const clock = setInterval(() => {
      if (hasMoved()) renderMemosAgain();
      this.#app.root.invalidate();
    }, MINUTE_MS);
    signal.addEventListener("abort", () => clearInterval(clock));
  }

  /** Moves the focus to the search. */
  search() {
    this.#input?.focus();
    this.#input?.select();
  }

  /** @param {string} chat_id */
  focusChat(chat_id) {
    const row = this.#rows().find((element) => element.dataset["chat"] === chat_id);
    (row ?? this.#input)?.focus();
  }

  view() {
    const isSearching = this.#results.text !== "";
    const list = {
      class: "scroller",
      hidden: isSearching,
      ref: (/** @type {HTMLElement} */ element) => void (this.#scroller = element),
      onscroll: () => this.#scrolled(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => moveFocus(event, this.#rows()),
      ...this.#chatMenu.listeners,
    };
    const unsent = this.#app.sending.unsent();
    const own = new Map(this.#chats(unsent).map((chat) => [chat, this.#app.sending.own(chat)]));
    const hasArchive = [...own.values()].some(({ isArchived }) => isArchived);
    const isArchive = this.#isArchiveShown && hasArchive;
    const filter = isArchive ? "all" : this.#filters.chosen;
    const listed = [...own.keys()].filter((chat) => own.get(chat)?.isArchived === isArchive);
    const shown = pinnedFirst(listed, (chat) => own.get(chat)?.isPinned === true).filter((chat) => this.#isShown(chat, filter));
    const rows = shown.map((chat) => this.#row(chat, /** @type {Own} */ (own.get(chat)), unsent.get(chat.chat_id)));
    const label = isArchive ? texts.chats.archived : texts.chats.label;
    if ((hasArchive || filter !== "all") && !this.#app.chats.hasFailed) this.#app.root.after(() => this.#extend());
    this.#watch(shown);
    return h(
      "rookery-chat-list",
      { class: "pane-list", key: "list" },
      this.#header(),
      searchBox(texts.chats.search, {
        ref: (/** @type {HTMLInputElement} */ element) => void (this.#input = element),
        oninput: () => this.#find(),
        onkeydown: (/** @type {KeyboardEvent} */ event) => this.#keyInSearch(event),
      }),
      h(
        "nav",
        { "aria-label": texts.chats.label },
        h(
          "div",
          list,
          own.size > 0 && !isArchive && this.#filters.view(),
          hasArchive && filter === "all" && this.#archiveButton(isArchive),
          h("ul", { class: "list", "aria-label": label, key: "rows" }, rows),
          own.size && !shown.length && filter !== "all" ? this.#noneFiltered(filter) : this.#state(own.size),
        ),
        this.#results.view(),
      ),
      !isSearching && this.#app.chats.phase === "ready" && !own.size && this.#startView(),
    );
  }

  /**
   * The chats of the list, with new chats that have only an unsent text first. New chats are not known before the list
   * is loaded; a group that is not on the loaded pages has no name until the page has read it.
   * @param {ReadonlyMap<string, Unsent>} unsent
   */
  #chats(unsent) {
    const { chats } = this.#app;
    if (chats.phase !== "ready" || !unsent.size) return chats.all;
    const listed = new Set(chats.all.map(({ chat_id }) => chat_id));
    const unlisted = [...unsent.keys()].filter((chat_id) => !listed.has(chat_id));
    const begun = unlisted.filter((chat_id) => !chats.isMissing(chat_id));
    return [...begun.map((chat_id) => chats.of(chat_id)), ...chats.all];
  }

  /** Whether the filter shows a chat. One that was opened stays until another is. @param {Chat} chat @param {Filter} filter */
  #isShown(chat, filter) {
    const isOpened = chat.chat_id === this.#opened && chat.chat_id === this.#app.chats.openChat;
    return isOpened || isShown(chat, filter, this.#app.sending.isUnread(chat));
  }

  /** Watches the other members of the chats, of too many chats those near the view. @param {readonly Chat[]} shown */
  #watch(shown) {
    let first = 0;
    if (this.#scroller && shown.length > MAX_WATCHED) {
      const { scrollTop, scrollHeight } = this.#scroller;
      first = Math.max(Math.floor((scrollTop / scrollHeight) * shown.length) - MAX_WATCHED / 2, 0);
    }
    const near = shown.slice(first, first + MAX_WATCHED);
    this.#app.chats.presence.watch("list", near.map(({ chat_id }) => this.#app.chats.otherOf(chat_id)));
  }

  /** @param {Exclude<Filter, "all">} filter that shows no chat */
  #noneFiltered(filter) {
    const { phase, hasMore, hasFailed } = this.#app.chats;
    if (hasFailed) return this.#failure();
    if (phase === "loading" || hasMore) return memo("state", ["filling"], () => skeletonRows(3));
    return memo("state", [filter], () => emptyState(texts.chats.noneFiltered[filter], ""));
  }

  /** Switches between the archived chats and all others. @param {boolean} isArchive */
  #archiveButton(isArchive) {
    const onclick = () => {
      this.#isArchiveShown = !isArchive;
      this.#app.root.invalidate();
    };
    const words = isArchive ? texts.chats.all : texts.chats.archived;
    return h("button", { class: "text-button soft wide", type: "button", key: "archive", onclick }, words);
  }

  /** @param {Chat} chat @param {Own} own @param {Unsent} [unsent] */
  #row(chat, own, unsent) {
    const { chats, sending } = this.#app;
    const { chat_id } = chat;
    const newest = this.#newest(chat);
    const isUnread = sending.isUnread(chat);
    const text = newest ? shownPlain(newest, chats.profiles) : "";
    const by = newest ? this.#by(newest) : "";
    const title = chats.titleOf(chat_id);
    const typing = typingText(chats, chat_id);
    const isOpen = chat_id === chats.openChat;
    const time = newest ? shortTime(newest.at_ms, Date.now()) : "";
    const shown = isOpen && unsent?.state === "draft" ? undefined : unsent; // the composer shows this draft
    const face = [chats.partner(chat_id), chats.pictureOf(chat_id), title, by, text, typing];
    const { isPinned, isMuted } = own;
    const isOnline = chats.presence.isOnline(chats.otherOf(chat_id));
    const signs = [chat.unread, chat.unread_mentions, isUnread, isOpen, isPinned, isMuted, isOnline];
    return memo(chat_id, [newest, ...face, time, shown?.state, shown?.text, ...signs], () =>
      h(
        "rookery-chat-row",
        { role: "listitem" },
        h(
          "button",
          {
            ...{ class: "row", type: "button", "data-chat": chat_id, "aria-current": isOpen ? "true" : null },
            onclick: () => {
              this.#opened = chat_id;
              this.#app.open(chat_id);
            },
          },
          chatAvatar(chats, chat_id),
          h("span", { class: "name", dir: "auto" }, title || "\u00a0"),
          onlineWord(isOnline),
          newest &&
            h(
              "span",
              { class: "when" },
              isPinned && sign("pin", texts.chats.pinned),
              isMuted && sign("muted", texts.chats.muted),
              h("time", { datetime: iso(newest.at_ms), title: fullTime(newest.at_ms) }, time),
            ),
          typing ? h("span", { class: "preview typing" }, typing) : preview(newest, by, text, shown),
          h("span", { class: "badges" }, mentions(chat), isUnread && unread(chat, isMuted)),
        ),
      ),
    );
  }

  /** The words before the newest message that name its sender: of the user, and of others in groups. @param {Message} newest */
  #by({ chat_id, sender_id, control }) {
    const { me, profiles } = this.#app.chats;
    if (control) return "";
    if (sender_id === me.user_id) return texts.preview.you;
    return isGroup(chat_id) ? texts.message.by(profiles.nameOf(sender_id) || texts.message.someone) : "";
  }

  /** The newest message as shown, unless the user has hidden it; then the newest other one in memory. @param {Chat} chat */
  #newest(chat) {
    const { chats, sending } = this.#app;
    const newest = chats.newestOf(chat);
    const shown = newest && sending.shown(newest);
    if (!shown || !isHidden(shown)) return shown;
    const isShown = (/** @type {Message} */ message) => !isHidden(sending.shown(message));
    const other = chats.conversations.known(chat.chat_id).findLast(isShown);
    return other ? sending.shown(other) : null;
  }

  /** @param {number} count of the rows */
  #state(count) {
    const { chats } = this.#app;
    const isShown = count && (chats.phase === "ready" || chats.isStored);
    const kind = isShown ? "" : chats.phase;
    if (chats.hasFailed && !(count && chats.isStored)) return this.#failure();
    return memo("state", [kind], () => {
      if (kind === "loading") return skeletonRows(7);
      return kind && emptyState(texts.chats.none, texts.chats.noneHint);
    });
  }

  /** The chats, or further ones, could not be loaded. */
  #failure() {
    return memo("state", ["failed"], () => failure(texts.chats.notLoaded, () => void this.#app.chats.load()));
  }

  #header() {
    const { chats } = this.#app;
    const choices = [
      { label: texts.chats.yourProfile, choose: () => this.#openProfile() },
      { label: texts.chats.settings, choose: () => this.#openSettings() },
      { label: texts.chats.findGroups, choose: () => findGroups(this.#app) },
      ...(chats.all.length ? [{ label: texts.chats.readAll, choose: () => this.#readAll() }] : []),
      ...(chats.me.is_admin ? [{ label: texts.chats.admin, href: "/admin" }] : []),
      { label: texts.chats.signOut, choose: () => void this.#app.signOut() },
    ];
    return h(
      "div",
      { class: "bar" },
      h("h1", { class: "brand" }, mark(), "Rookery"),
      iconButton(texts.chats.newChat, "write", () => this.search(), { title: texts.chats.newChatKeys }),
      iconButton(texts.group.create, "users", () => this.#createGroup()),
      this.#menu.view(choices),
    );
  }

  #startView() {
    if (!this.#start) void this.#loadStart();
    return this.#start?.view();
  }

  async #loadStart() {
    try {
      const { Start } = await import("./start.js");
      this.#start ??= new Start(this.#app, (chat_id) => this.#open(chat_id));
      this.#app.root.invalidate();
    } catch {
      // The server is away: the next rendering, such as that of the new connection, loads it again.
    }
  }

  #openProfile() {
    void openDialog(this.#app, () => import("./profile-dialogs.js"), ({ OwnProfile }) => new OwnProfile(this.#app));
  }

  #openSettings() {
    void openDialog(this.#app, () => import("./settings.js"), ({ SettingsDialog }) => {
      return (this.#settings ??= new SettingsDialog(this.#app));
    });
  }

  #readAll() {
    void openDialog(this.#app, () => import("./read-all.js"), ({ ReadAll }) => new ReadAll(this.#app));
  }

  #createGroup() {
    const done = () => void (this.#newGroup = null);
    void openDialog(this.#app, loadGroupDialogs, ({ NewGroup }) => (this.#newGroup ??= new NewGroup(this.#app, done)));
  }

  #find() {
    this.#results.find(this.#input?.value.trim() ?? "");
  }

  /** @param {KeyboardEvent} event */
  #keyInSearch(event) {
    if (isForInputMethod(event)) return;
    if (event.key === "Escape" && this.#input?.value) {
      event.preventDefault();
      this.#clear();
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      if (this.#results.text) this.#results.focusFirst();
      else this.#rows()[0]?.focus();
    } else if (event.key === "Enter") {
      event.preventDefault(); // or the key adds a line break in the composer, which has the focus then
      this.#results.chooseFirst();
    }
  }

  #clear() {
    if (this.#input) this.#input.value = "";
    this.#find();
  }

  /** @param {string} chat_id */
  #open(chat_id) {
    this.#clear();
    this.#app.open(chat_id);
  }

  #scrolled() {
    if (this.#app.chats.all.length > MAX_WATCHED) this.#app.root.invalidate(); // other users are in the view
    this.#extend();
  }

  /** Loads the next page, if there is one, and little of the list is left to scroll. */
  #extend() {
    if (!this.#scroller || !this.#app.chats.hasMore) return;
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    if (scrollHeight - scrollTop - clientHeight < SCREENS_AHEAD * clientHeight) void this.#app.chats.loadMore();
  }

  /** The choices of a chat's menu. The focus stays in the list if a choice moves the chat out of it. @param {string} chat_id */
  #choicesOf(chat_id) {
    const first = () => /** @type {HTMLElement | null} */ (this.#scroller?.querySelector(":not(.filters) > button") ?? null);
    const stay = () => document.activeElement === document.body && first()?.focus();
    return chatChoices(this.#app, chat_id).map(({ label, choose }) => ({
      label,
      choose: () => {
        choose();
        this.#app.root.after(stay);
      },
    }));
  }

  #rows() {
    return /** @type {HTMLElement[]} */ ([...(this.#scroller?.querySelectorAll("button.row") ?? [])]);
  }
}

/** @param {number} at_ms */
const iso = (at_ms) => new Date(at_ms).toISOString();

/**
 * The unsent text, else the newest message; the line has the direction of its text.
 * @param {Message | null} newest
 * @param {string} by its sender; may be empty
 * @param {string} text of it
 * @param {Unsent | undefined} unsent
 */
function preview(newest, by, text, unsent) {
  if (unsent) {
    const start = h("bdi", {}, plainText(unsent.text).slice(0, PREVIEW_LENGTH));
    const { failed, draft, you: pending } = texts.preview;
    const label = { failed, draft, pending }[unsent.state];
    return h("span", { class: "preview labelled" }, h("span", { class: unsent.state }, label), " ", start);
  }
  const look = newest && isDeleted(newest) ? "muted" : null;
  if (by) {
    const content = [h("span", {}, by), " ", h("bdi", { class: look }, text)];
    return h("span", { class: "preview labelled" }, content);
  }
  return h("span", { class: look ? `preview ${look}` : "preview", dir: "auto" }, text);
}

/** @param {"pin" | "muted"} name @param {string} words for screen readers */
const sign = (name, words) => h("span", { title: words }, icon(name), h("span", { class: "unseen" }, words));

/** The sign of unread mentions, with their count if it is not one. @param {Chat} chat */
function mentions({ unread_mentions: count }) {
  const shown = unreadLabel(count);
  return count > 0 && badge("badge", count > 1 ? `@${shown}` : "@", texts.chats.mentions(count, shown));
}

/** The count of unread messages; a dot for a chat that is only marked as unread. @param {Chat} chat @param {boolean} isMuted */
function unread({ unread: count }, isMuted) {
  const shown = unreadLabel(count);
  const look = isMuted ? "badge silent" : "badge";
  return count ? badge(look, shown, texts.chats.unread(count, shown)) : badge(`${look} dot`, "", texts.chats.markedUnread);
}

/** @param {string} look @param {string} shown @param {string} words for screen readers */
const badge = (look, shown, words) =>
  h("span", { class: look }, h("span", { "aria-hidden": "true" }, shown), h("span", { class: "unseen" }, ` ${words}`));
