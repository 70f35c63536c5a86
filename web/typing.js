// Typing signals: sends the user's own at a limited rate, and shows other users' for a limited time. The protocol
// defines both times.

import { Store } from "./stores/store.js";

/** @import {ClientFrame} from "./wire.js" */

const REPEAT_MS = 4_000;
const SHOWN_MS = 6_000;

export class Typing extends Store {
  #lastSent_ms = -Infinity;
  /** The chat of the last signal. */
  #chat_id = "";
  /** By chat_id and user_id. @type {Map<string, Map<string, ReturnType<typeof setTimeout>>>} */
  #shown = new Map();

  /**
   * Sends the user's typing signal, unless the last one was of this chat, less than `REPEAT_MS` ago.
   * @param {string} chat_id
   * @param {(frame: ClientFrame) => boolean} send
   */
  announce(chat_id, send) {
    const now_ms = performance.now();
    const isDue = chat_id !== this.#chat_id || now_ms - this.#lastSent_ms >= REPEAT_MS;
    if (isDue && send({ typing: { chat_id } })) [this.#chat_id, this.#lastSent_ms] = [chat_id, now_ms];
  }

  /** Lets the next letter send a signal at once, after the text was sent. */
  reset() {
    this.#lastSent_ms = -Infinity;
  }

  /** The users who are typing in a chat, who began first first. @param {string} chat_id @returns {readonly string[]} */
  of(chat_id) {
    return [...(this.#shown.get(chat_id)?.keys() ?? [])];
  }

  /** @param {string} chat_id @param {string} user_id */
  show(chat_id, user_id) {
    const users = this.#shown.get(chat_id) ?? new Map();
    this.#shown.set(chat_id, users);
    clearTimeout(users.get(user_id));
    users.set(
      user_id,
      setTimeout(() => this.hide(chat_id, user_id), SHOWN_MS),
    );
    this.changed();
  }

  /** @param {string} chat_id @param {string} user_id */
  hide(chat_id, user_id) {
    const users = this.#shown.get(chat_id);
    clearTimeout(users?.get(user_id));
    if (!users?.delete(user_id)) return;
    if (!users.size) this.#shown.delete(chat_id);
    this.changed();
  }
}
