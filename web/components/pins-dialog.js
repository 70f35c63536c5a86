// The list of a chat's pinned messages, from where one goes to a message or removes its pin. Loaded when it is first
// opened.

import { displayName, exactTime, shortTime } from "../format.js";
import { texts } from "../languages/language.js";
import { shownPlain } from "../messages.js";
import { h } from "../view.js";
import { textButton } from "./buttons.js";
import { emptyState, failure } from "./empty.js";
import { Modal } from "./modal.js";
import { pinnedBy, pinnedIn } from "./pinned.js";

/** @import {App} from "./app-shell.js" */
/** @import {Message} from "../types.js" */

/** Shown characters of a message: more than fit in its lines. */
const SHOWN_LENGTH = 400;

export class PinsDialog extends Modal {
  #app;
  #chat_id;
  #goTo;

  /** @param {App} app @param {string} chat_id @param {(message_id: string) => void} goTo */
  constructor(app, chat_id, goTo) {
    super(texts.pins.title, () => this.#content());
    this.#app = app;
    this.#chat_id = chat_id;
    this.#goTo = goTo;
    this.follow(app.chats, app.sending);
  }

  #content() {
    const { pins } = this.#app.chats;
    const { phase, hasOlder } = pins.of(this.#chat_id);
    const load = () => void pins.loadOlder(this.#chat_id);
    const items = pinnedIn(this.#app, this.#chat_id).map((message) => this.#item(message));
    return h(
      "div",
      { class: "pins", tabindex: -1 }, // has the focus after the removal of a pin
      h("ul", { class: "list", role: "list" }, items),
      phase === "loading" && h("p", { class: "note", role: "status" }, texts.loading),
      phase === "failed" && failure(texts.pins.notLoaded, load),
      phase === "ready" && hasOlder && textButton("text-button wide", load, texts.pins.more),
      phase === "ready" && !hasOlder && !items.length && emptyState(texts.pins.none, texts.pins.noneHint),
    );
  }

  /** @param {Message} message */
  #item(message) {
    const { chats, sending } = this.#app;
    const { message_id, sender_id, at_ms } = message;
    const profile = chats.profiles.get(sender_id);
    const isOwn = sender_id === chats.me.user_id;
    const author = isOwn ? texts.message.you : profile ? displayName(profile) : texts.message.someone;
    const go = () => {
      this.close();
      this.#goTo(message_id);
    };
    return h(
      "li",
      { key: message_id, class: "pin" },
      h(
        "button",
        { class: "pinned-message", type: "button", onclick: go },
        h("strong", { dir: "auto" }, author),
        h("time", { datetime: new Date(at_ms).toISOString(), title: exactTime(at_ms) }, shortTime(at_ms, Date.now())),
        h("span", { class: "words", dir: "auto" }, shownPlain(message, chats.profiles).slice(0, SHOWN_LENGTH)),
        h("small", { class: "soft" }, pinnedBy(this.#app, message)),
      ),
      textButton("text-button", () => sending.pin(message, false), texts.message.unpin),
    );
  }
}
