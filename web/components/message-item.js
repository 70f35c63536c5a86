// One message: its bubble, its time on demand, the button to react, its reactions and its delivery state.

import { Client } from "../client.js";
import { h, setText } from "../dom.js";
import { displayName, fullTime, isOnlyEmoji, timeOfDay, withLinks } from "../format.js";
import { progress } from "../messages.js";
import { iconButton, textButton } from "./buttons.js";
import { pickReaction } from "./reaction-picker.js";

/** @import {Message, Tally} from "../types.js" */
/** @import {Row} from "../messages.js" */
/** @typedef {Extract<Row, {kind: "message"}>} MessageRow */

export class MessageItem extends HTMLElement {
  #client;
  /** @type {Message | undefined} */
  #message;
  #author = h("span", { class: "unseen" });
  #text = h("span", { class: "text" });
  #time = h("time");
  #react = iconButton("React", "react", () => this.#pick(), { "aria-haspopup": "dialog", "aria-expanded": "false" });
  #reactions = h("div", { class: "reactions" });
  #meta = h("div", { class: "meta" });
  #shownMeta = "";

  /** @param {Client} client */
  constructor(client) {
    super();
    this.#client = client;
    this.setAttribute("role", "listitem");
    this.tabIndex = -1;
    const bubble = h("div", { class: "bubble" }, this.#author, this.#text);
    const aside = h("div", { class: "aside" }, this.#time, this.#react);
    this.append(h("div", { class: "line" }, bubble, aside), this.#reactions, this.#meta);
    this.addEventListener("focusin", () => this.#reachable(true));
    this.addEventListener("focusout", () => this.#reachable(false));
    this.#reachable(false);
  }

  /** Opens the picker beside this message. */
  react() {
    if (this.#message?.state === "accepted") this.#pick();
  }

  /** @param {MessageRow} row */
  show({ message, own, first, newest }) {
    this.className = ["message", own && "own", first && "first", message.state].filter(Boolean).join(" ");
    const changed = message !== this.#message;
    const textChanged = message.body !== this.#message?.body;
    this.#message = message;
    if (textChanged) this.#showText(message.body);
    this.#showAuthor(own, message.sender_id);
    if (changed) this.#showTime(message);
    if (changed) this.#showReactions(message.reactions);
    this.#showMeta(own && (newest || message.state === "failed") ? this.#status(message) : "", message);
  }

  /** @param {string} body */
  #showText(body) {
    const pieces = withLinks(body).map(({ text, url }) =>
      url ? h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, text) : text,
    );
    this.#text.replaceChildren(...pieces);
    this.#text.classList.toggle("large", isOnlyEmoji(body));
  }

  /** @param {boolean} own @param {string} sender_id */
  #showAuthor(own, sender_id) {
    const profile = this.#client.profiles.get(sender_id);
    setText(this.#author, `${own ? "You" : profile ? displayName(profile) : "Someone"}: `);
  }

  /** @param {Message} message */
  #showTime({ at_ms, state }) {
    setText(this.#time, timeOfDay(at_ms));
    this.#time.dateTime = new Date(at_ms).toISOString();
    this.#time.title = fullTime(at_ms);
    this.#react.hidden = state !== "accepted";
  }

  /** @param {readonly Tally[]} reactions */
  #showReactions(reactions) {
    const focused = this.#reactions.contains(document.activeElement)
      ? document.activeElement?.getAttribute("data-emoji")
      : null;
    this.#reactions.hidden = reactions.length === 0;
    this.#reactions.replaceChildren(...reactions.map((tally) => this.#chip(tally)));
    if (focused)
      /** @type {HTMLElement} */ (this.#chips().find((chip) => chip.dataset["emoji"] === focused) ?? this).focus();
    this.#reachable(this.contains(document.activeElement));
  }

  /** @param {Tally} tally */
  #chip({ emoji, user_ids }) {
    const { me, profiles } = this.#client;
    const names = user_ids.map((id) =>
      id === me.user_id ? "you" : displayName(profiles.get(id) ?? { display_name: "", name: "someone" }),
    );
    const chip = textButton("", () => this.#toggle(emoji), `${emoji} ${user_ids.length}`);
    chip.dataset["emoji"] = emoji;
    chip.title = names.join(", ");
    chip.setAttribute("aria-label", `${emoji} ${user_ids.length}: ${chip.title}`);
    chip.setAttribute("aria-pressed", String(user_ids.includes(me.user_id)));
    return chip;
  }

  /** @param {Message} message */
  #status(message) {
    if (message.state === "failed") return "Not sent";
    if (message.state === "pending") return this.#client.session.state === "online" ? "Sending…" : "Waiting to send";
    const chat = this.#client.chats.of(message.chat_id);
    return `${timeOfDay(message.at_ms)} · ${progress(message, chat.marks, this.#client.me.user_id)}`;
  }

  /** @param {string} status @param {Message} message */
  #showMeta(status, message) {
    if (status === this.#shownMeta) return;
    this.#shownMeta = status;
    this.#meta.hidden = status === "";
    this.#meta.replaceChildren(
      h("span", { title: message.error }, status),
      ...(message.state === "failed" ? this.#remedies(message) : []),
    );
  }

  /** @param {Message} message */
  #remedies(message) {
    const retry = textButton("text-button", () => this.#client.retry(message), "Try again");
    const discard = textButton("text-button soft", () => this.#client.discard(message), "Delete");
    return [h("span", { class: "reason" }, message.error), retry, discard];
  }

  #pick() {
    pickReaction(this.#react, (emoji) => this.#toggle(emoji));
  }

  /** @param {string} emoji */
  #toggle(emoji) {
    if (this.#message) this.#client.toggleReaction(this.#message, emoji);
  }

  /** Only the buttons of the focused message are in the tab order. @param {boolean} reachable */
  #reachable(reachable) {
    for (const button of [this.#react, ...this.#chips()]) button.tabIndex = reachable ? 0 : -1;
  }

  #chips() {
    return /** @type {HTMLElement[]} */ ([...this.#reactions.children]);
  }
}

customElements.define("rookery-message", MessageItem);
