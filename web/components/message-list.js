// The messages of a chat: older pages load on scrolling up, new messages appear at the bottom, and the view never jumps.

import { Client } from "../client.js";
import { marksOf } from "../chats.js";
import { Component, h, moveFocus, reconcile, setText, soon } from "../dom.js";
import { dayLabel, displayName } from "../format.js";
import { icon } from "../icons.js";
import { toRows } from "../messages.js";
import { emptyState, failure, skeletonMessages } from "./empty.js";
import { MessageItem } from "./message-item.js";
import { ScrollAnchor } from "./scroll-anchor.js";

/** @import {Message} from "../types.js" */
/** @import {Row} from "../messages.js" */

/** The page before is fetched when this many screens are left to scroll up. */
const SCREENS_AHEAD = 1.5;

export class MessageList extends Component {
  #client;
  #chat_id;
  #top = h("div", { class: "top" });
  #lines = h("div", { class: "lines", role: "list" });
  #scroller;
  #pill = h("button", { class: "pill", type: "button", hidden: true, onclick: () => this.toBottom() });
  #scrollAnchor;
  /**
   * The id above which others' messages were unread when the chat was opened; null while that is loading.
   * @type {string | null}
   */
  #unreadAbove = null;
  /** Others' messages that arrived while the bottom was out of view. */
  #arrived = 0;
  #topFace = "";

  /** @param {Client} client @param {string} chat_id */
  constructor(client, chat_id) {
    super();
    this.#client = client;
    this.#chat_id = chat_id;
    const hint = "Arrow keys go from message to message, Enter reacts.";
    this.#scroller = h(
      "div",
      { class: "messages", tabindex: 0, role: "group", "aria-label": "Messages", "aria-description": hint },
      this.#top,
      this.#lines,
    );
    this.#scrollAnchor = new ScrollAnchor(this.#scroller, this.#lines, "rookery-message", () => this.#scrolled());
  }

  /** @override */
  connected() {
    this.className = "message-list";
    this.replaceChildren(this.#scroller, this.#pill);
    const render = soon(() => this.render());
    this.listen(this.#client, "messages", (event) => event.detail === this.#chat_id && render());
    this.listen(this.#client, "connection", render);
    this.listen(this.#client.profiles, "change", render);
    this.listen(this.#client, "arrived", (event) => this.#messageArrived(event.detail));
    this.listen(document, "visibilitychange", () => this.#read());
    this.listen(this.#scroller, "keydown", (event) => this.#keyPressed(event));
    void this.#client.conversations.open(this.#chat_id);
    this.render();
  }

  toBottom() {
    this.#scrollAnchor.toBottom();
    this.#scrolled();
  }

  render() {
    const { phase } = this.#client.conversations.of(this.#chat_id);
    const opening = this.#unreadAbove === null && phase === "ready";
    if (opening) this.#unreadAbove = this.#readUpTo();
    const rows = toRows(this.#client.messages(this.#chat_id), this.#client.me.user_id, this.#unreadAbove ?? "");
    this.#scrollAnchor.preserve(() => {
      this.#showTop(rows.length === 0);
      reconcile(this.#lines, rows, {
        key: (row) => row.key,
        make: (row) => this.#make(row),
        update: (line, row) => this.#update(line, row),
      });
    });
    if (opening) this.#goToUnread();
    this.#scrolled();
  }

  /** The id above which messages are unread; empty if none are. */
  #readUpTo() {
    const chat = this.#client.chats.of(this.#chat_id);
    return chat.unread ? marksOf(chat, this.#client.me.user_id).read_up_to : "";
  }

  /** Scrolls an opened chat to its first unread message. */
  #goToUnread() {
    const mark = this.#lines.querySelector(".unread-mark");
    this.#scrollAnchor.toBottom();
    if (mark && mark.getBoundingClientRect().top < this.#scroller.getBoundingClientRect().top)
      this.#scrollAnchor.toTopOf(mark);
  }

  /** @param {Row} row @returns {HTMLElement} */
  #make(row) {
    if (row.kind === "message") return new MessageItem(this.#client);
    return h("div", { class: row.kind === "day" ? "day" : "unread-mark", role: "listitem" }, h("span"));
  }

  /** @param {HTMLElement} line @param {Row} row */
  #update(line, row) {
    if (row.kind === "message") /** @type {MessageItem} */ (line).show(row);
    else
      setText(
        /** @type {Element} */ (line.firstElementChild),
        row.kind === "day" ? dayLabel(row.at_ms, Date.now()) : "New messages",
      );
  }

  /** @param {boolean} empty */
  #showTop(empty) {
    const { phase, hasOlder, older } = this.#client.conversations.of(this.#chat_id);
    const face =
      phase === "failed" || older === "failed"
        ? "failed"
        : phase !== "ready" || hasOlder
          ? "waiting"
          : empty
            ? "empty"
            : "beginning";
    const name = this.#name();
    if (this.#topFace === face + name) return;
    this.#topFace = face + name;
    this.#top.className = `top ${face}`;
    this.#top.replaceChildren(this.#topOf(face, name));
  }

  /** @param {string} face @param {string} name */
  #topOf(face, name) {
    const again = () => void this.#client.conversations.openAgain(this.#chat_id);
    if (face === "failed") return failure("The messages could not be loaded.", again);
    if (face === "waiting") return skeletonMessages();
    if (face === "empty") return emptyState("No messages yet", `Say hello to ${name}.`);
    return h("p", { class: "beginning" }, `This is where your chat with ${name} began.`);
  }

  #name() {
    const profile = this.#client.partner(this.#chat_id);
    return profile ? displayName(profile) : "them";
  }

  #scrolled() {
    const { scrollTop, clientHeight } = this.#scroller;
    if (scrollTop < SCREENS_AHEAD * clientHeight && this.#client.conversations.of(this.#chat_id).older === "idle") {
      void this.#client.conversations.loadOlder(this.#chat_id);
    }
    if (this.#scrollAnchor.atBottom) this.#arrived = 0;
    this.#showPill(this.#scrollAnchor.below > clientHeight);
    this.#read();
  }

  /** @param {boolean} farUp */
  #showPill(farUp) {
    const words =
      this.#arrived === 0 ? "Go to the newest message" : this.#arrived === 1 ? "1 new message" : `${this.#arrived} new messages`;
    this.#pill.hidden = this.#arrived === 0 && !farUp;
    this.#pill.classList.toggle("news", this.#arrived > 0);
    if (this.#pill.textContent !== words) this.#pill.replaceChildren(icon("down"), h("span", {}, words));
  }

  /** @param {Message} message */
  #messageArrived({ chat_id }) {
    if (chat_id !== this.#chat_id || this.#scrollAnchor.atBottom) return;
    this.#arrived++;
    this.#showPill(true);
  }

  /** Marks the chat as read while its bottom is in view. */
  #read() {
    const { phase } = this.#client.conversations.of(this.#chat_id);
    const seen =
      this.isConnected && phase === "ready" && this.#scrollAnchor.atBottom && document.visibilityState === "visible";
    // On a phone the chat list may cover the chat, and then no element of the chat has a size.
    if (seen && this.#scroller.clientHeight > 0) this.#client.markRead(this.#chat_id);
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    const items = /** @type {MessageItem[]} */ ([...this.#lines.querySelectorAll("rookery-message")]);
    const at = items.indexOf(/** @type {MessageItem} */ (document.activeElement));
    if (event.target === this.#scroller && event.key === "ArrowUp") {
      event.preventDefault();
      items.at(-1)?.focus();
    } else if (at >= 0 && event.key === "Enter") {
      event.preventDefault();
      items[at]?.react();
    } else if (at >= 0) {
      moveFocus(event, items);
    }
  }
}

customElements.define("rookery-message-list", MessageList);
