// The history of a message's edits: each version with its time, the newest first. Loaded when it is first opened.

import { newestOf, UNCHANGED } from "../changes.js";
import { exactTime } from "../format.js";
import { timeOfId } from "../ids.js";
import { isDeleted } from "../kinds/deleted.js";
import { dialogTexts } from "../languages/dialogs.js";
import { texts } from "../languages/language.js";
import { changeIn } from "../messages.js";
import { h } from "../view.js";
import { failure } from "./empty.js";
import { messageText } from "./message-item.js";
import { Modal } from "./modal.js";

/** @import {App} from "./app-shell.js" */
/** @import {ChangeEvent} from "../changes.js" */
/** @import {Message} from "../types.js" */
/** @import {HistoryMessage} from "../wire.js" */

/** The server returns this many edits at most. */
const MAX_EDITS = 100;

export class EditsDialog extends Modal {
  #app;
  #message;
  /** @type {"loading" | "ready" | "failed"} */
  #phase = "loading";
  /** @type {ChangeEvent[]} */
  #edits = [];

  /** @param {App} app @param {Message} message that was edited */
  constructor(app, message) {
    super(dialogTexts.edits.title, () => this.#content());
    this.#app = app;
    this.#message = message;
    this.follow(app.chats, app.sending);
    void this.#load();
  }

  async #load() {
    const { chat_id, message_id } = this.#message;
    this.#phase = "loading";
    try {
      const path = `/v1/chats/${encodeURIComponent(chat_id)}/messages/${message_id}/versions`;
      /** @type {Pick<HistoryMessage, "changes">} the oldest first */
      const { changes = [] } = await this.#app.api.signedIn("GET", `${path}?kind=edited`);
      this.#edits = changes.flatMap(changeIn);
      this.#phase = "ready";
    } catch {
      this.#phase = "failed";
    }
    this.root.invalidate();
  }

  #content() {
    if (this.#phase === "loading") return h("p", { class: "note", role: "status" }, texts.loading);
    if (this.#phase === "failed") return failure(dialogTexts.edits.notLoaded, () => this.#loadAgain());
    const message = this.#current();
    if (isDeleted(message)) return h("p", { class: "muted" }, texts.message.deleted);
    return [
      this.#edits.length >= MAX_EDITS && h("p", { class: "note" }, dialogTexts.edits.newest(MAX_EDITS)),
      h("ol", { class: "list", role: "list" }, versionsOf(message, this.#edits).map((version) => this.#version(version))),
    ];
  }

  #loadAgain() {
    void this.#load();
    this.root.invalidate();
  }

  /** The message as it is now. */
  #current() {
    const { chats, sending } = this.#app;
    const { chat_id, message_id } = this.#message;
    return sending.shown(chats.quotes.get(chat_id, message_id) ?? this.#message);
  }

  /** @param {Message} version */
  #version(version) {
    const { key, at_ms, changes } = version;
    return h(
      "li",
      { key, class: "version" },
      h("time", { class: "soft", datetime: new Date(at_ms).toISOString() }, exactTime(at_ms)),
      changes === UNCHANGED && h("small", { class: "soft" }, dialogTexts.edits.original),
      h("div", { class: "words", dir: "auto" }, messageText(this.#app, version, 0)),
    );
  }
}

/**
 * The versions of a message, the newest first; the last one is the text as it was sent.
 * @param {Message} message
 * @param {readonly ChangeEvent[]} edits read from history, oldest first, which may lag behind the message
 * @returns {Message[]}
 */
export function versionsOf(message, edits) {
  const newest = newestOf(message.changes, "edited");
  const all = !newest || edits.some(({ event_id }) => event_id === newest.event_id) ? edits : [...edits, newest];
  const ofEdit = (/** @type {ChangeEvent} */ event) => {
    const { event_id } = event;
    return { ...message, key: event_id, at_ms: timeOfId(event_id), changes: new Map([["", event]]) };
  };
  return [{ ...message, changes: UNCHANGED }, ...all.map(ofEdit)].reverse();
}
