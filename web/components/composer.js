// The composer: a text field that grows with its text, keeps it as a draft, and sends on Enter.

import { mayReplace } from "../drafts.js";
import { icon } from "../icons.js";
import { texts } from "../languages/language.js";
import { h } from "../view.js";
import { bodyOf, sends } from "../writing.js";
import { iconButton } from "./buttons.js";
import { EmojiCompletion, insert } from "./emoji-completion.js";
import { pickEmoji } from "./pick-emoji.js";

/** @import {App} from "./app-shell.js" */

const encoder = new TextEncoder();

export class Composer {
  #app;
  #chat_id;
  #sent;
  /** @type {HTMLTextAreaElement | undefined} */
  #field;
  /** @type {EmojiCompletion | undefined} */
  #completion;
  /** Whether the person wrote the text in this tab; if not, it comes from another tab, or from before a reload. */
  #isOwn = false;
  /** The pieces at the start of the text that are being kept in the outbox. @type {{text: string}[]} */
  #leaving = [];

  /** @param {App} app @param {string} chat_id @param {() => void} sent */
  constructor(app, chat_id, sent) {
    this.#app = app;
    this.#chat_id = chat_id;
    this.#sent = sent;
  }

  focus() {
    this.#field?.focus();
  }

  /** @param {string} name of the recipient; empty while it is loading */
  view(name) {
    const excess = this.#excess();
    const field = {
      ...{ rows: 1, placeholder: texts.composer.placeholder, dir: "auto", autocomplete: "off" },
      "aria-label": name ? texts.composer.label(name) : texts.composer.placeholder,
      "aria-describedby": "composer-note",
      ...this.#completion?.attributes,
      ref: (/** @type {HTMLTextAreaElement} */ element) => this.#begin(element),
      oninput: () => this.#written(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#keyPressed(event),
    };
    const submit = (/** @type {Event} */ event) => {
      event.preventDefault();
      void this.#submit();
    };
    const emoji = { "aria-haspopup": "dialog", "aria-expanded": "false", onclick: this.#pickEmoji };
    const isSendable = excess <= 0 && this.#unsent().trim() !== "";
    // The style renders a hidden copy of the text behind the field, which makes the field as high as its text:
    // measuring the height would make the messages jump.
    return h(
      "rookery-composer",
      { key: "composer" },
      h(
        "form",
        { class: "composer", onsubmit: submit },
        this.#completion?.view(),
        h("div", { class: "writing", "data-text": this.#text }, h("textarea", field)),
        iconButton(texts.emoji, "react", null, emoji),
        h(
          "button",
          {
            ...{ class: "send", type: "submit", disabled: !isSendable },
            ...{ "aria-label": texts.composer.send, title: texts.composer.send },
          },
          icon("send"),
        ),
      ),
      h(
        "p",
        { class: "note error", id: "composer-note", role: "alert" },
        excess > 0 && texts.composer.tooLong(excess),
      ),
    );
  }

  get #text() {
    return this.#field?.value ?? this.#app.sending.drafts.get(this.#chat_id);
  }

  /** @param {HTMLTextAreaElement} field */
  #begin(field) {
    field.value = this.#text;
    this.#field = field;
    this.#completion = new EmojiCompletion(field, this.#app.root);
    this.#app.sending.drafts.field = {
      chat_id: this.#chat_id,
      accepts: (change) => mayReplace({ text: field.value, isFocused: hasFocus(field), isOwn: this.#isOwn }, change),
      show: (text) => {
        field.value = text;
        this.#isOwn = false;
      },
    };
  }

  #pickEmoji = (/** @type {Event} */ event) => {
    const opener = /** @type {HTMLElement} */ (event.currentTarget);
    void pickEmoji(opener, (emoji) => this.#field && insert(this.#field, emoji));
  };

  #written() {
    const { sending, root } = this.#app;
    this.#isOwn = true;
    sending.drafts.keep(this.#chat_id, this.#text);
    if (this.#unsent().trim()) sending.writing(this.#chat_id);
    root.invalidate();
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    if (this.#completion?.keyPressed(event)) return;
    if (!sends(event) || !matchMedia("(hover: hover)").matches) return;
    event.preventDefault();
    void this.#submit();
  }

  /** The text leaves the field only when it is kept in the outbox. What is typed meanwhile stays. */
  async #submit() {
    const text = this.#unsent();
    const body = bodyOf(text);
    if (!body || this.#excess() > 0) return;
    const piece = { text };
    this.#leaving.push(piece);
    this.focus();
    await this.#app.sending.send(this.#chat_id, body);
    this.#remove(piece);
    this.#written();
    this.#sent();
  }

  /** @param {{text: string}} piece that is kept in the outbox */
  #remove(piece) {
    const rest = this.#unsent();
    const pieces = this.#leaving.filter((other) => other !== piece);
    if (pieces.length === this.#leaving.length) return; // the person changed the text meanwhile
    this.#leaving = pieces;
    if (this.#field) this.#field.value = pieces.map(({ text }) => text).join("") + rest;
  }

  /** The text without its start that is being kept in the outbox. */
  #unsent() {
    const leaving = this.#leaving.map((piece) => piece.text).join("");
    if (this.#text.startsWith(leaving)) return this.#text.slice(leaving.length);
    this.#leaving = []; // the person changed it meanwhile
    return this.#text;
  }

  /** The number of bytes above the limit of a message. */
  #excess() {
    return encoder.encode(bodyOf(this.#unsent())).length - this.#app.sending.maxTextBytes;
  }
}

/** Whether keys that are pressed now go to the field. @param {HTMLElement} field */
const hasFocus = (field) => document.hasFocus() && document.activeElement === field;
