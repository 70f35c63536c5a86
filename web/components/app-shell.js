// The layout of a signed-in page: the chats at the left, the open chat at the right, and notices. The open chat is in
// the address, so that reload, back and links work.

import { choices } from "../emoji/choices.js";
import { displayName } from "../format.js";
import { Chats } from "../stores/chats.js";
import { Sync } from "../stores/sync.js";
import { Updates } from "../stores/updates.js";
import { h, memo, Root } from "../view.js";
import { textButton } from "./buttons.js";
import { ChatList } from "./chat-list.js";
import { ChatView } from "./chat-view.js";
import { nothingOpen } from "./empty.js";

/** @import {Api} from "../api.js" */
/** @import {Sending} from "../stores/sending.js" */
/** @import {Message} from "../types.js" */

/** The notice appears after this time, so that a short reconnect shows nothing. */
const NOTICE_AFTER_MS = 1_200;
/** The number of announcements that are kept for screen readers. */
const ANNOUNCEMENTS = 5;
const RECONNECTING = "Reconnecting. What you write is kept and sent when the connection is back.";
/** Shown while the browser's storage is blocked or full. */
const UNKEPT = "This browser’s storage is full or blocked. What is not sent yet is lost when you close the page.";

/**
 * The stores and the actions of the page, for its parts.
 * @typedef {object} App
 * @property {Api} api
 * @property {Chats} chats
 * @property {Sending} sending
 * @property {Sync} sync
 * @property {Root} root
 * @property {(chat_id: string) => void} open
 * @property {() => void} close returns to the list
 * @property {() => Promise<void>} signOut
 */

export class AppShell {
  /** Whether the user is signing out, so that no notice is needed. */
  leaving = false;
  element = document.createElement("rookery-app");
  /** @type {Root} */
  root = new Root(this.element, () => this.#view());
  #life = new AbortController();
  /** @type {ChatList} */
  #list;
  /** @type {ChatView | null} */
  #chat = null;
  #isNoticeShown = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #noticeTimer;
  /** @type {Message[]} */
  #announced = [];
  #retry = textButton("", () => this.sync.session.connect(), "Try now");
  #reload = textButton("", () => location.reload(), "Reload");
  #nothingOpen = nothingOpen("Pick a chat", "Or find someone to write to.", () => this.#list.search());
  #welcome = nothingOpen("Welcome to Rookery", "Write to someone of your team.", () => this.#list.search());

  /** @param {Api} api @param {Chats} chats @param {Sync} sync @param {Updates} updates */
  constructor(api, chats, sync, updates) {
    this.api = api;
    this.chats = chats;
    this.sync = sync;
    this.updates = updates;
    this.sending = sync.sending;
    this.#list = new ChatList(this);
  }

  /** Shows the page in `element`, and keeps it up to date until `stop`. */
  start() {
    const { sync, updates } = this;
    for (const store of [this.chats, this.sending, sync, updates]) store.subscribe(this.root.invalidate);
    sync.subscribe(() => this.#connectionChanged());
    updates.onOpen = (chat_id) => this.open(chat_id);
    sync.onArrived = (message) => this.#arrived(message);
    for (const type of ["hashchange", "popstate"]) this.#listen(window, type, () => this.#route());
    for (const type of ["online", "offline"]) this.#listen(window, type, () => sync.session.probe());
    this.#listen(document, "visibilitychange", () => {
      if (document.visibilityState === "visible") sync.session.probe();
      this.root.invalidate();
    });
    this.#listen(document, "keydown", (event) => this.#keyPressed(/** @type {KeyboardEvent} */ (event)));
    this.#list.start(this.#life.signal);
    this.#connectionChanged();
    this.#route();
    this.root.render();
  }

  stop() {
    this.#life.abort();
    this.root.stop();
    this.#chat?.stop();
    clearTimeout(this.#noticeTimer);
  }

  /** @param {EventTarget} target @param {string} type @param {(event: Event) => void} listener */
  #listen(target, type, listener) {
    target.addEventListener(type, listener, { signal: this.#life.signal });
  }

  /** @param {string} chat_id */
  open(chat_id) {
    const address = `#${encodeURIComponent(chat_id)}`;
    // Opening another chat replaces the entry in the browser's history, so that going back leads to the list.
    if (this.chats.openChat) history.replaceState(history.state, "", address);
    else history.pushState({ inside: true }, "", address);
    this.#route();
    this.root.render();
    this.#chat?.focusStart();
  }

  /** Returns to the list, as the browser's back button does. */
  close() {
    if (history.state?.inside) return history.back();
    history.replaceState(null, "", location.pathname);
    this.#route();
  }

  async signOut() {
    this.leaving = true;
    history.replaceState(null, "", location.pathname);
    await this.api.signOut();
    await this.sending.clear();
    choices.clear();
    this.sync.session.end();
  }

  #route() {
    const chat_id = decoded(location.hash.slice(1));
    const before = this.chats.openChat;
    if (this.#chat ? chat_id === before : !chat_id) return;
    this.#chat?.stop();
    this.#chat = chat_id ? new ChatView(this, chat_id) : null;
    this.chats.open(chat_id);
    if (chat_id) return;
    this.root.render();
    this.#list.focusChat(before);
  }

  #view() {
    this.element.className = this.#chat ? "app in-chat" : "app";
    document.title = this.#title();
    return [
      this.#list.view(),
      h("main", { class: "pane-chat", key: "main" }, this.#chat ? this.#chat.view() : this.#invitation),
      h(
        "div",
        { class: "notices", key: "notices" },
        h("div", { class: "notice", role: "status", hidden: !this.#isNoticeShown }, this.#noticeContent()),
        h("div", { class: "notice", role: "status", hidden: this.sending.isDurable }, UNKEPT),
        h("div", { class: "notice news", role: "status", hidden: !this.#isUpdateShown }, this.#updateContent()),
      ),
      h(
        "div",
        { class: "unseen", role: "log", "aria-label": "New messages", key: "announcer" },
        this.#announced.map((message) => this.#announcement(message)),
      ),
    ];
  }

  /** What is shown while no chat is open. */
  get #invitation() {
    return this.chats.phase === "ready" && !this.chats.all.length ? this.#welcome : this.#nothingOpen;
  }

  #title() {
    const unread = this.chats.all.filter((chat) => chat.unread > 0).length;
    const profile = this.chats.partner(this.chats.openChat);
    const title = profile ? `${displayName(profile)} · Rookery` : "Rookery";
    return unread ? `(${unread}) ${title}` : title;
  }

  #noticeContent() {
    return this.#isNoticeShown && [h("span", {}, RECONNECTING), this.#retry];
  }

  /** A reload would lose text that the browser does not keep. */
  get #isUpdateShown() {
    return this.updates.isReady && this.sending.isDurable;
  }

  #updateContent() {
    return this.#isUpdateShown && [h("span", {}, "A new version is ready."), this.#reload];
  }

  #connectionChanged() {
    clearTimeout(this.#noticeTimer);
    if (this.sync.isOnline) this.#isNoticeShown = false;
    else if (!this.#isNoticeShown) this.#noticeTimer = setTimeout(() => this.#showNotice(), NOTICE_AFTER_MS);
  }

  #showNotice() {
    this.#isNoticeShown = true;
    this.root.invalidate();
  }

  /** @param {Message} message */
  #arrived(message) {
    if (!this.sync.isReplaying) this.#announced = [...this.#announced, message].slice(-ANNOUNCEMENTS);
    this.#chat?.arrived(message);
  }

  /** @param {Message} message */
  #announcement({ key, sender_id, body }) {
    const profile = this.chats.profiles.get(sender_id);
    return profile && memo(key, [body], () => h("p", {}, `${displayName(profile)}: ${body}`));
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    if (document.querySelector("dialog[open], [popover]:popover-open")) return;
    if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.#list.search();
    } else if (event.key === "Escape" && this.chats.openChat && !event.defaultPrevented) {
      this.close();
    }
  }
}

/** The decoded part of an address; empty if it can't be decoded. @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}
