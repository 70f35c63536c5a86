// The composer: a text field that grows with its text, keeps it as a draft, and sends on Enter.

import { Client } from "../client.js";
import { Component, h, setText } from "../dom.js";
import { icon } from "../icons.js";

const encoder = new TextEncoder();

export class Composer extends Component {
  #text;
  #writing = h("div", { class: "writing" });
  #send = h("button", { class: "send", type: "submit", "aria-label": "Send", title: "Send" }, icon("send"));
  /** The pieces at the start of the text that are being kept in the outbox. @type {{text: string}[]} */
  #leaving = [];
  #note = h("p", { class: "note error", id: "composer-note", role: "alert" });

  /** @param {Client} client @param {string} chat_id @param {string} name of the recipient @param {() => void} sent */
  constructor(client, chat_id, name, sent) {
    super();
    this.client = client;
    this.chat_id = chat_id;
    this.sent = sent;
    this.#text = h("textarea", {
      rows: 1,
      placeholder: "Message",
      "aria-label": `Message to ${name}`,
      "aria-describedby": "composer-note",
      autocomplete: "off",
    });
  }

  /** @override */
  connected() {
    const submit = (/** @type {Event} */ event) => {
      event.preventDefault();
      void this.#submit();
    };
    this.#writing.append(this.#text);
    this.replaceChildren(h("form", { class: "composer", onsubmit: submit }, this.#writing, this.#send), this.#note);
    this.#text.value = this.client.drafts.get(this.chat_id);
    this.listen(this.#text, "input", () => this.#written());
    this.listen(this.#text, "keydown", (event) => this.#keyPressed(event));
    this.#fit();
    this.#judge();
  }

  /** @override */
  focus() {
    this.#text.focus();
  }

  /** @param {string} name */
  setName(name) {
    this.#text.setAttribute("aria-label", `Message to ${name}`);
  }

  #written() {
    this.client.drafts.keep(this.chat_id, this.#text.value);
    if (this.#unsent().trim()) this.client.writing(this.chat_id);
    this.#fit();
    this.#judge();
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    const sends =
      event.key === "Enter" && !event.shiftKey && !event.isComposing && matchMedia("(hover: hover)").matches;
    if (!sends) return;
    event.preventDefault();
    void this.#submit();
  }

  /** The text leaves the field only when it is kept in the outbox. What is typed meanwhile stays. */
  async #submit() {
    const text = this.#unsent();
    const body = text.trim();
    if (!body || this.#excess() > 0) return;
    const piece = { text };
    this.#leaving.push(piece);
    this.#text.focus();
    this.#judge();
    await this.client.send(this.chat_id, body);
    this.#remove(piece);
    this.#written();
    this.sent();
  }

  /** @param {{text: string}} piece that is kept in the outbox */
  #remove(piece) {
    const rest = this.#unsent();
    const pieces = this.#leaving.filter((other) => other !== piece);
    if (pieces.length === this.#leaving.length) return; // the person changed the text meanwhile
    this.#leaving = pieces;
    this.#text.value = pieces.map(({ text }) => text).join("") + rest;
  }

  /** The text without its start that is being kept in the outbox. */
  #unsent() {
    const leaving = this.#leaving.map((piece) => piece.text).join("");
    if (this.#text.value.startsWith(leaving)) return this.#text.value.slice(leaving.length);
    this.#leaving = []; // the person changed it meanwhile
    return this.#text.value;
  }

  /**
   * Makes the field as high as its text. The style renders a hidden copy of the text behind the field, because
   * measuring the height would make the messages jump.
   */
  #fit() {
    this.#writing.dataset["text"] = this.#text.value;
  }

  #judge() {
    const excess = this.#excess();
    this.#send.disabled = excess > 0 || !this.#unsent().trim();
    setText(this.#note, excess > 0 ? `Too long by ${excess} bytes. Send it in parts.` : "");
  }

  /** The number of bytes above the limit of a message. */
  #excess() {
    return encoder.encode(this.#unsent().trim()).length - this.client.maxTextBytes;
  }
}

customElements.define("rookery-composer", Composer);
