// The layout of a signed-in page: the chats at the left, the open chat at the right, and notices. The open chat is in
// the address, so that reload, back and links work.

import { showBadge } from "../badge.js";
import { choices } from "../emoji/choices.js";
import { displayName } from "../format.js";
import { texts } from "../languages/language.js";
import { placeIn } from "../links.js";
import { Chats } from "../stores/chats.js";
import { Settings } from "../stores/settings.js";
import { Sync } from "../stores/sync.js";
import { Updates } from "../stores/updates.js";
import { h, memo, Root } from "../view.js";
import { textButton } from "./buttons.js";
import { ChatList } from "./chat-list.js";
import { ChatView } from "./chat-view.js";
import { nothingOpen } from "./empty.js";
import { Notifications } from "./notifications.js";

/** @import {Api} from "../api.js" */
/** @import {Sending} from "../stores/sending.js" */
/** @import {Message} from "../types.js" */

/** The notice appears after this time, so that a short reconnect shows nothing. */
const NOTICE_AFTER_MS = 1_200;
/** The number of announcements that are kept for screen readers. */
const ANNOUNCEMENTS = 5;
/** A short notice is shown for this time. */
const SAID_MS = 4_000;

/**
 * The stores and the actions of the page, for its parts.
 * @typedef {object} App
 * @property {Api} api
 * @property {Chats} chats
 * @property {Sending} sending
 * @property {Sync} sync
 * @property {Settings} settings
 * @property {Root} root
 * @property {(chat_id: string) => void} open
 * @property {() => void} close returns to the list
 * @property {(text: string) => void} say shows a short notice
 * @property {() => Promise<void>} signOut asks for confirmation if messages are not sent yet
 * @property {(password: string) => Promise<void>} deleteAccount for ever
 */

export class AppShell {
  /** What the sign-in shows when the chats end; empty after the user has signed out here. */
  farewell = texts.signedOut;
  element = document.createElement("rookery-app");
  /** @type {Root} */
  root = new Root(this.element, () => this.#view());
  #life = new AbortController();
  /** @type {ChatList} */
  #list;
  /** @type {ChatView | null} */
  #chat = null;
  /** A short notice; empty for none. */
  #said = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #saidTimer;
  #isNoticeShown = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #noticeTimer;
  /** @type {Message[]} */
  #announced = [];
  #retry = textButton("", () => this.sync.session.connect(), texts.shell.tryNow);
  #reload = textButton("", () => location.reload(), texts.shell.reload);
  #nothingOpen = nothingOpen(texts.shell.pickChat, texts.shell.pickChatHint, () => this.#list.search());
  #welcome = nothingOpen(texts.shell.welcome, texts.shell.welcomeHint, () => this.#list.search());
  /** @type {Notifications} */
  #notifications;

  /** @param {Api} api @param {Chats} chats @param {Sync} sync @param {Settings} settings @param {Updates} updates */
  constructor(api, chats, sync, settings, updates) {
    this.api = api;
    this.chats = chats;
    this.sync = sync;
    this.updates = updates;
    this.sending = sync.sending;
    this.settings = settings;
    this.#list = new ChatList(this);
    this.#notifications = new Notifications(this, () => this.#shownChat());
  }

  /** Shows the page in `element`, and keeps it up to date until `stop`. */
  start() {
    const { sync, settings, updates } = this;
    for (const store of [this.chats, this.sending, sync, settings, updates]) store.subscribe(this.root.invalidate);
    sync.subscribe(() => this.#connectionChanged());
    updates.onOpen = (chat_id) => this.open(chat_id);
    sync.onArrived = (message) => this.#arrived(message);
    sync.onMissed = (message) => this.#notifications.arrived(message);
    this.sending.isTypingShown = () => this.settings.get("typing") === "shown";
    for (const type of ["hashchange", "popstate"]) this.#listen(window, type, () => this.#route());
    for (const type of ["online", "offline"]) this.#listen(window, type, () => sync.session.probe());
    this.#listen(document, "visibilitychange", () => {
      if (document.visibilityState === "visible") sync.session.probe();
      this.root.invalidate();
    });
    this.#listen(document, "keydown", (event) => this.#keyPressed(/** @type {KeyboardEvent} */ (event)));
    this.#list.start(this.#life.signal);
    this.#notifications.start(this.#life.signal);
    this.#connectionChanged();
    this.#route();
    this.root.render();
  }

  stop() {
    this.#life.abort();
    this.root.stop();
    this.#chat?.stop();
    clearTimeout(this.#noticeTimer);
    clearTimeout(this.#saidTimer);
  }

  /** Shows a short notice. @param {string} text */
  say(text) {
    this.#said = text;
    this.root.invalidate();
    clearTimeout(this.#saidTimer);
    this.#saidTimer = setTimeout(() => this.say(""), SAID_MS);
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
    const unsent = this.sending.outbox.size;
    if (!unsent || confirm(texts.shell.unsentAtSignOut(unsent))) await this.#leave("", () => this.api.signOut());
  }

  /** @param {string} password @throws {import("../api.js").Problem} if the password is wrong or the user an admin */
  deleteAccount(password) {
    return this.#leave(texts.account.deleted, () => this.api.deleteAccount(password));
  }

  /** @param {string} farewell @param {() => Promise<void>} end ends the sign-in */
  async #leave(farewell, end) {
    this.farewell = farewell; // now, since the session may end before the response
    try {
      await end();
    } catch (fault) {
      this.farewell = texts.signedOut;
      throw fault;
    }
    history.replaceState(null, "", location.pathname);
    await this.sending.clear();
    choices.clear();
    this.sync.session.end();
  }

  #route() {
    const { chat_id, message_id } = placeIn(location.hash);
    const before = this.chats.openChat;
    if (this.#chat && chat_id === before && message_id) this.#chat.goTo(message_id);
    if (this.#chat ? chat_id === before : !chat_id) return;
    this.#chat?.stop();
    this.#chat = chat_id ? new ChatView(this, chat_id, message_id) : null;
    this.chats.open(chat_id, message_id);
    if (chat_id) return;
    this.root.render();
    this.#list.focusChat(before);
  }

  #view() {
    this.element.className = this.#chat ? "app in-chat" : "app";
    this.element.role = "main"; // around both panes: a phone hides one of them
    const unread = this.chats.all.filter((chat) => chat.unread > 0).length;
    const title = this.#title(unread);
    if (document.title !== title) document.title = title;
    showBadge(unread);
    this.root.after(() => this.#notifications.rendered());
    return [
      this.#list.view(),
      h("div", { class: "pane-chat", key: "chat" }, this.#chat ? this.#chat.view() : this.#invitation),
      h(
        "div",
        { class: "notices", key: "notices" },
        h("div", { class: "notice", role: "status", hidden: !this.#isNoticeShown }, this.#noticeContent()),
        h("div", { class: "notice", role: "status", hidden: this.sending.isDurable }, texts.shell.unkept),
        h("div", { class: "notice said", role: "status", hidden: !this.#said }, this.#said),
        h("div", { class: "notice news", role: "status", hidden: !this.#isUpdateShown }, this.#updateContent()),
        this.#notifications.view(),
      ),
      h(
        "div",
        { class: "unseen", role: "log", "aria-label": texts.shell.announcer, key: "announcer" },
        this.#announced.map((message) => this.#announcement(message)),
      ),
    ];
  }

  /** The right pane while no chat is open. */
  get #invitation() {
    return this.chats.phase === "ready" && !this.chats.all.length ? this.#welcome : this.#nothingOpen;
  }

  /** @param {number} unread chats with unread messages */
  #title(unread) {
    const profile = this.chats.partner(this.chats.openChat);
    const title = profile ? texts.shell.title(displayName(profile)) : "Rookery";
    return unread ? texts.shell.unread(unread, title) : title;
  }

  #noticeContent() {
    return this.#isNoticeShown && [h("span", {}, texts.shell.reconnecting), this.#retry];
  }

  /** Only if the browser keeps unsent texts: a reload would lose them otherwise. */
  get #isUpdateShown() {
    return this.updates.isReady && this.sending.isDurable;
  }

  #updateContent() {
    return this.#isUpdateShown && [h("span", {}, texts.shell.newVersion), this.#reload];
  }

  #connectionChanged() {
    if (!this.sync.isReachable) this.#noticeTimer ??= setTimeout(() => this.#showNotice(), NOTICE_AFTER_MS);
    else {
      clearTimeout(this.#noticeTimer);
      this.#noticeTimer = undefined;
      this.#isNoticeShown = false;
    }
  }

  #showNotice() {
    this.#isNoticeShown = true;
    this.root.invalidate();
  }

  /** @param {Message} message */
  #arrived(message) {
    if (!this.sync.isReplaying) {
      this.#announced = [...this.#announced, message].slice(-ANNOUNCEMENTS);
      this.#notifications.arrived(message);
    }
    this.#chat?.arrived(message);
  }

  /** The chat whose end is on the screen; empty if there is none. */
  #shownChat() {
    return document.visibilityState === "visible" && this.#chat?.isAtEnd ? this.chats.openChat : "";
  }

  /** @param {Message} message */
  #announcement({ key, sender_id, body }) {
    const profile = this.chats.profiles.get(sender_id);
    return profile && memo(key, [body], () => h("p", {}, texts.shell.announced(displayName(profile), body)));
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
