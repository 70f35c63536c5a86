// The layout of a signed-in page: the chats at the left, the open chat at the right, and the notice while the
// connection is down. The open chat is in the address, so that reload, back and links work.

import { Client } from "../client.js";
import { Component, h, soon } from "../dom.js";
import { displayName } from "../format.js";
import { textButton } from "./buttons.js";
import { ChatList } from "./chat-list.js";
import { ChatView } from "./chat-view.js";
import { nothingOpen } from "./empty.js";

/** @import {Message} from "../types.js" */

/** The notice appears after this time, so that a short reconnect shows nothing. */
const NOTICE_AFTER_MS = 1_200;
/** The number of announcements that are kept for screen readers. */
const ANNOUNCEMENTS = 5;

/** Shown while the browser's storage is blocked or full. */
const UNKEPT = "This browser’s storage is full or blocked. What is not sent yet is lost when you close the page.";

export class AppShell extends Component {
  /** Whether the user is signing out, so that no notice is needed. */
  leaving = false;
  #unkept = h("div", { class: "notice", role: "status", hidden: true }, UNKEPT);
  #notice = h("div", { class: "notice", role: "status", hidden: true });
  #announcer = h("div", { class: "unseen", role: "log", "aria-label": "New messages" });
  #main = h("main", { class: "pane-chat" });
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #noticeTimer;
  /** @type {ChatView | null} */
  #view = null;

  /** @param {Client} client */
  constructor(client) {
    super();
    this.client = client;
    this.list = new ChatList(client, this);
  }

  /** @override */
  connected() {
    this.className = "app";
    this.replaceChildren(this.list, this.#main, h("div", { class: "notices" }, this.#notice, this.#unkept), this.#announcer);
    this.listen(window, "hashchange", () => this.#route());
    this.listen(window, "popstate", () => this.#route());
    this.listen(window, "online", () => this.client.session.probe());
    this.listen(window, "offline", () => this.client.session.probe());
    this.listen(
      document,
      "visibilitychange",
      () => document.visibilityState === "visible" && this.client.session.probe(),
    );
    this.listen(document, "keydown", (event) => this.#keyPressed(event));
    this.listen(this.client, "connection", () => this.#connectionChanged());
    this.listen(this.client, "arrived", (event) => this.client.isReplaying || this.#announce(event.detail));
    this.listen(
      this.client,
      "chats",
      soon(() => this.#showTitle()),
    );
    this.listen(
      this.client.profiles,
      "change",
      soon(() => this.#showTitle()),
    );
    this.#connectionChanged();
    this.#route();
  }

  /** @param {string} chat_id */
  open(chat_id) {
    const address = `#${encodeURIComponent(chat_id)}`;
    // Opening another chat replaces the entry in the browser's history, so that going back leads to the list.
    if (this.client.openChat) history.replaceState(history.state, "", address);
    else history.pushState({ inside: true }, "", address);
    this.#route();
    this.#view?.focusStart();
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
    await this.client.signOut();
  }

  #route() {
    const chat_id = decodeURIComponent(location.hash.slice(1));
    const before = this.client.openChat;
    if (this.#view && chat_id === before) return;
    this.client.openChat = chat_id;
    this.#view = chat_id ? new ChatView(this.client, this, chat_id) : null;
    this.classList.toggle("in-chat", chat_id !== "");
    this.#main.replaceChildren(this.#view ?? nothingOpen(() => this.list.search()));
    this.list.render();
    if (before && !chat_id) this.list.focusChat(before);
    this.#showTitle();
  }

  #showTitle() {
    const unread = this.client.chats.all.filter((chat) => chat.unread > 0).length;
    const profile = this.client.partner(this.client.openChat);
    const title = profile ? `${displayName(profile)} · Rookery` : "Rookery";
    document.title = unread ? `(${unread}) ${title}` : title;
  }

  #connectionChanged() {
    this.#unkept.hidden = this.client.kept.isDurable;
    clearTimeout(this.#noticeTimer);
    if (this.client.session.state === "online") this.#notice.hidden = true;
    else if (this.#notice.hidden) this.#noticeTimer = setTimeout(() => this.#showNotice(), NOTICE_AFTER_MS);
  }

  #showNotice() {
    this.#notice.hidden = false;
    const retry = textButton("", () => this.client.session.connect(), "Try now");
    this.#notice.replaceChildren(
      h("span", {}, "Reconnecting. What you write is kept and sent when the connection is back."),
      retry,
    );
  }

  /** @param {Message} message */
  #announce(message) {
    const { profiles } = this.client;
    const profile = profiles.get(message.sender_id);
    if (!profile) return profiles.addEventListener("change", () => this.#announce(message), { once: true });
    this.#announcer.append(h("p", {}, `${displayName(profile)}: ${message.body}`));
    while (this.#announcer.childElementCount > ANNOUNCEMENTS) this.#announcer.firstElementChild?.remove();
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    if (document.querySelector("dialog[open], [popover]:popover-open")) return;
    if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.list.search();
    } else if (event.key === "Escape" && this.client.openChat && !event.defaultPrevented) {
      this.close();
    }
  }
}

customElements.define("rookery-app", AppShell);
