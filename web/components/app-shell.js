// The layout of a signed-in page: the chats at the left, the open chat at the right, and notices. The open chat is in
// the address, so that reload, back and links work.

import { showBadge } from "../badge.js";
import { copyText } from "../clipboard.js";
import { choices } from "../emoji/choices.js";
import { displayName } from "../format.js";
import { isForInputMethod } from "../keys.js";
import { isDeleted } from "../kinds/deleted.js";
import { isHidden } from "../kinds/hidden.js";
import { isCounted, isSilent } from "../kinds/own.js";
import { texts } from "../languages/language.js";
import { linkIn, placeIn } from "../links.js";
import { shownPlain } from "../messages.js";
import { refusalText } from "../refusals.js";
import { Chats } from "../stores/chats.js";
import { Settings } from "../stores/settings.js";
import { Sync } from "../stores/sync.js";
import { Updates } from "../stores/updates.js";
import { h, memo, Root } from "../view.js";
import { textButton } from "./buttons.js";
import { ChatList } from "./chat-list.js";
import { nothingOpen, skeletonMessages } from "./empty.js";
import { Notifications } from "./notifications.js";
import { loadPeopleNotices, openInvite } from "./open-dialog.js";
import { loadStyle } from "./style.js";

/** @import {Api} from "../api.js" */
/** @import {ChatView} from "./chat-view.js" */
/** @import {Sending} from "../stores/sending.js" */
/** @import {Message} from "../types.js" */
/** @import {Change, Refused} from "../wire.js" */

/** The notice appears after this time, so that a short reconnect shows nothing. */
const NOTICE_AFTER_MS = 1_200;
/** The number of announcements that are kept for screen readers. */
const ANNOUNCEMENTS = 5;
/** A short notice is shown for this time; with an offer longer, and until the offer loses the focus. */
const TOAST_MS = 4_000;
const OFFERED_MS = 5_000;

/**
 * A button in a short notice.
 * @typedef {object} Offer
 * @property {string} label
 * @property {() => void} press
 * @property {boolean} isFocused whether it gets the focus
 */

/**
 * The stores and the actions of the page, for its parts.
 * @typedef {object} App
 * @property {Api} api
 * @property {Chats} chats
 * @property {Sending} sending
 * @property {Sync} sync
 * @property {Settings} settings
 * @property {Root} root
 * @property {(chat_id: string) => void} open closes all dialogs
 * @property {() => void} close returns to the list
 * @property {(text: string, offer?: Offer) => void} notify shows a short notice
 * @property {typeof copyText} copyText
 * @property {() => Promise<void>} signOut asks for confirmation if messages or changes are not sent yet
 * @property {(password: string) => Promise<void>} deleteAccount for ever
 */

export class AppShell {
  copyText = copyText;
  /** What the sign-in shows when the chats end; empty after the user has signed out here. */
  farewell = texts.signedOut;
  element = document.createElement("rookery-app");
  /** @type {Root} */
  root = new Root(this.element, () => this.#view());
  #life = new AbortController();
  /** @type {ChatList} */
  #list;
  /** The view of the open chat, once its module is loaded. @type {ChatView | null} */
  #chat = null;
  /** Loaded with the first chat that is opened: a first visit shows the list sooner. @type {Promise<typeof ChatView> | null} */
  #loadingView = null;
  /** A short notice; empty for none. */
  #toast = "";
  /** @type {Offer | null} */
  #offer = null;
  /** @type {HTMLElement | undefined} */
  #offerButton;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #toastTimer;
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
    this.root.before = () => this.#chat?.readArrived();
    sync.onMissed = (message) => this.#notifications.arrived(message);
    sync.onPeopleChanged = (user_id) => void this.#peopleChanged(user_id);
    this.sending.onRefused = (change, refused) => void this.#changeRefused(change, refused);
    this.sending.isTypingShown = () => this.settings.get("typing") === "shown";
    for (const type of ["hashchange", "popstate"]) this.#listen(window, type, () => this.#route());
    for (const type of ["online", "offline"]) this.#listen(window, type, () => sync.session.probe());
    this.#listen(document, "visibilitychange", () => {
      if (document.visibilityState === "visible") sync.session.probe();
      else sync.sending.flushMarks(); // the person may not come back
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
    clearTimeout(this.#toastTimer);
  }

  /** Shows a short notice. @param {string} text @param {Offer} [offer] */
  notify(text, offer) {
    [this.#toast, this.#offer] = [text, offer ?? null];
    if (offer?.isFocused) this.root.after(() => this.#offerButton?.focus());
    this.root.invalidate();
    this.#endToast(offer ? OFFERED_MS : TOAST_MS);
  }

  /** @param {number} after_ms */
  #endToast(after_ms) {
    clearTimeout(this.#toastTimer);
    this.#toastTimer = setTimeout(() => {
      if (this.#offer && document.activeElement === this.#offerButton) this.#endToast(after_ms);
      else [this.#toast, this.#offer] = ["", null];
      this.root.invalidate();
    }, after_ms);
  }

  #toastContent() {
    const { label, press } = this.#offer ?? {};
    const take = () => {
      const isFocused = document.activeElement === this.#offerButton;
      this.notify("");
      press?.();
      if (isFocused) this.#chat?.focusMessages();
    };
    const ref = (/** @type {HTMLElement} */ element) => void (this.#offerButton = element);
    return [h("span", {}, this.#toast), label && h("button", { type: "button", onclick: take, ref }, label)];
  }

  /** @param {EventTarget} target @param {string} type @param {(event: Event) => void} listener */
  #listen(target, type, listener) {
    target.addEventListener(type, listener, { signal: this.#life.signal });
  }

  /** @param {string} chat_id */
  open(chat_id) {
    for (const dialog of document.querySelectorAll("dialog")) dialog.close(); // one may be open when a notification is pressed
    const address = `#${encodeURIComponent(chat_id)}`;
    // Opening another chat replaces the entry in the browser's history, so that going back leads to the list.
    if (this.chats.openChat) history.replaceState(history.state, "", address);
    else history.pushState({ inside: true }, "", address);
    const isShown = this.#route();
    this.sending.removeUnreadMark(chat_id);
    void isShown.then(() => {
      this.root.render();
      this.#chat?.focusStart();
    });
  }

  /** Returns to the list, as the browser's back button does. */
  close() {
    if (history.state?.inside) return history.back();
    history.replaceState(null, "", location.pathname);
    this.#route();
  }

  async signOut() {
    const { outbox, changes, drafts } = this.sending;
    const unsent = outbox.size + changes.size + drafts.leavingCount;
    if (!unsent || confirm(texts.shell.unsentAtSignOut(unsent))) await this.#leave("", () => this.api.signOut());
  }

  /** @param {string} password @throws {import("../api.js").Problem} if the password is wrong or the user an admin */
  deleteAccount(password) {
    return this.#leave(texts.shell.accountDeleted, () => this.api.deleteAccount(password));
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

  /** Shows the chat in the page's address, or the group of an invite link beside the open chat. */
  async #route() {
    const { kind, token } = linkIn(location.hash);
    if (kind === "join") {
      const { openChat } = this.chats;
      history.replaceState(history.state, "", openChat ? `#${encodeURIComponent(openChat)}` : location.pathname);
      return openInvite(this, token);
    }
    const { chat_id, message_id } = placeIn(location.hash);
    const before = this.chats.openChat;
    if (this.#chat && chat_id === before && message_id) this.#chat.goTo(message_id);
    if (this.#chat ? chat_id === before : !chat_id && !before) return;
    this.#chat?.stop();
    this.#chat = null;
    this.chats.open(chat_id, message_id);
    if (chat_id) return this.#show(chat_id, message_id);
    this.root.render();
    this.#list.focusChat(before);
  }

  /** @param {string} chat_id that was opened @param {string} message_id the message at which to open; or empty */
  async #show(chat_id, message_id) {
    try {
      const View = await (this.#loadingView ??= loadChatView());
      if (this.#chat || chat_id !== this.chats.openChat || this.#life.signal.aborted) return;
      this.#chat = new View(this, chat_id, message_id);
      this.root.invalidate();
    } catch {
      this.#loadingView = null; // the server is away, and the browser has not kept the module
      if (chat_id === this.chats.openChat) this.close();
      this.notify(texts.failed.noResponse);
    }
  }

  #view() {
    const { openChat } = this.chats;
    this.element.className = openChat ? "app in-chat" : "app";
    this.element.role = "main"; // around both panes: a phone hides one of them
    const unread = this.chats.all.filter((chat) => isCounted(this.sending.own(chat), this.sending.isUnread(chat))).length;
    const title = this.#title(unread);
    if (document.title !== title) document.title = title;
    showBadge(unread);
    this.root.after(() => this.#notifications.rendered());
    return [
      this.#list.view(),
      h("div", { class: "pane-chat", key: "chat" }, this.#chat?.view() ?? (openChat ? skeletonMessages() : this.#invitation)),
      h(
        "div",
        { class: "notices", key: "notices" },
        h("div", { class: "notice", role: "status", hidden: !this.#isNoticeShown }, this.#noticeContent()),
        h("div", { class: "notice", role: "status", hidden: this.sending.isDurable }, texts.shell.unkept),
        h("div", { class: "notice toast", role: "status", hidden: !this.#toast }, this.#toastContent()),
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
    const name = this.chats.titleOf(this.chats.openChat);
    const title = name ? texts.shell.title(name) : "Rookery";
    return unread ? texts.shell.unread(unread, title) : title;
  }

  #noticeContent() {
    const { reconnecting, tooManySessions } = texts.shell;
    const text = this.sync.session.isOneTooMany ? tooManySessions : reconnecting;
    return this.#isNoticeShown && [h("span", {}, text), this.#retry];
  }

  /** Only if the browser keeps all that is unsent: a reload would lose it otherwise. */
  get #isUpdateShown() {
    return this.updates.isReady && this.sending.survivesReload;
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

  /** @param {string} user_id */
  async #peopleChanged(user_id) {
    if (this.sync.isReplaying) return;
    try {
      await (await loadPeopleNotices()).showInvitation(this, user_id);
    } catch {
      // The server is away: the list of connections has the invitation.
    }
  }

  /** @param {Change} change @param {Refused} refused */
  async #changeRefused(change, refused) {
    const reason = refusalText(refused);
    try {
      this.notify((await import("./refused-change.js")).refusedText(change, reason));
    } catch {
      this.notify(reason); // the server is away
    }
  }

  /** @param {Message} message */
  #arrived(message) {
    if (!this.sync.isReplaying) {
      if (!this.#isSilent(message)) this.#announced = [...this.#announced, message].slice(-ANNOUNCEMENTS);
      this.#notifications.arrived(message);
    }
    this.#chat?.arrived(message);
  }

  /** Whether a message is of a muted chat that is not open: screen readers do not read it out. @param {Message} message */
  #isSilent(message) {
    const { me, openChat, clock } = this.chats;
    const { chat_id } = message;
    return chat_id !== openChat && isSilent(this.chats.of(chat_id), message, me.user_id, clock.now_ms());
  }

  /** The chat whose end is on the screen; empty if there is none. */
  #shownChat() {
    return document.visibilityState === "visible" && this.#chat?.isAtEnd ? this.chats.openChat : "";
  }

  /** A text of a new message; an edit is not announced. @param {Message} message */
  #announcement(message) {
    const { key, sender_id } = message;
    const profile = this.chats.profiles.get(sender_id);
    const current = this.chats.conversations.current(message);
    if (!profile || isDeleted(current) || isHidden(current)) return null;
    const { profiles } = this.chats;
    const text = shownPlain(message, profiles);
    return memo(key, [], () => h("p", {}, message.control ? text : texts.shell.announced(displayName(profile), text)));
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    if (isForInputMethod(event)) return;
    if (document.querySelector("dialog[open], [popover]:popover-open")) return;
    if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.#list.search();
    } else if (event.key === "Escape" && this.chats.openChat && !event.defaultPrevented) {
      this.close();
    }
  }
}

async function loadChatView() {
  const [{ ChatView }] = await Promise.all([import("./chat-view.js"), loadStyle("styles/chat.css")]);
  return ChatView;
}
