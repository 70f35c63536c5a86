// Who is writing: says it of oneself, not too often, and shows it of others, not too long. The times are the
// protocol's.

const REPEAT_MS = 4_000;
const SHOWN_MS = 6_000;

/** Tells of others with "change" events whose `detail` is the chat_id. */
export class Typing extends EventTarget {
  #lastSaid_ms = -Infinity;
  /** @type {Map<string, ReturnType<typeof setTimeout>>} by chat_id */
  #shown = new Map();

  /**
   * Says that one writes in a chat, unless it was said just now.
   * @param {string} chat_id
   * @param {(frame: object) => number} send
   */
  say(chat_id, send) {
    const now_ms = performance.now();
    if (now_ms - this.#lastSaid_ms >= REPEAT_MS && send({ typing: { chat_id } })) this.#lastSaid_ms = now_ms;
  }

  /** What was written is sent: the next letter is worth saying again. */
  forget() {
    this.#lastSaid_ms = -Infinity;
  }

  /** @param {string} chat_id */
  isShown(chat_id) {
    return this.#shown.has(chat_id);
  }

  /** @param {string} chat_id */
  show(chat_id) {
    clearTimeout(this.#shown.get(chat_id));
    this.#shown.set(
      chat_id,
      setTimeout(() => this.hide(chat_id), SHOWN_MS),
    );
    this.#tell(chat_id);
  }

  /** @param {string} chat_id */
  hide(chat_id) {
    clearTimeout(this.#shown.get(chat_id));
    if (this.#shown.delete(chat_id)) this.#tell(chat_id);
  }

  /** @param {string} chat_id */
  #tell(chat_id) {
    this.dispatchEvent(new CustomEvent("change", { detail: chat_id }));
  }
}
