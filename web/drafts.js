// Unsent texts by chat, kept across reloads: at most `MAX_DRAFTS` chats, with texts of `MAX_LENGTH` characters.

import { Outbox } from "./outbox.js";
import { Kept } from "./stores/kept.js";
import { bodyOf } from "./writing.js";

/** @import {Draft} from "./types.js" */

/** If there are more drafts, the ones that changed longest ago are dropped. */
export const MAX_DRAFTS = 500;
/** Only the start of a longer text is kept: enough for several messages. */
export const MAX_LENGTH = 100_000;
/** @type {Draft} */
const NONE = { text: "", reply_to: "", editing: null };

export class Drafts {
  #kept;

  /** @param {Kept} kept @param {Outbox} outbox a draft that became a message just before the page closed is dropped */
  constructor(kept, outbox) {
    this.#kept = kept;
    for (const chat_id of this.chats)
      if (outbox.of(chat_id).some(({ body }) => body === bodyOf(this.get(chat_id).text)))
        this.keep(chat_id, { text: "", reply_to: "" });
  }

  /** @param {string} chat_id @returns {Draft} */
  get(chat_id) {
    const value = /** @type {any} */ (this.#kept.get("draft", chat_id));
    const draft = typeof value === "string" ? { text: value } : value; // a text alone is kept as a string
    return typeof draft?.text === "string" ? { ...NONE, ...draft } : NONE;
  }

  /** The chats with a draft, the last changed draft at the end. */
  get chats() {
    return this.#kept.all("draft").map(([chat_id]) => chat_id);
  }

  /** Changes parts of a draft; an empty one is deleted. @param {string} chat_id @param {Partial<Draft>} change */
  keep(chat_id, change) {
    const { text, reply_to, editing } = { ...this.get(chat_id), ...change };
    const start = text.slice(0, MAX_LENGTH);
    if (reply_to || editing) void this.#kept.put("draft", chat_id, { text: start, reply_to, editing });
    else if (text) void this.#kept.put("draft", chat_id, start);
    else if (this.get(chat_id) !== NONE) void this.#kept.remove("draft", chat_id);
    for (const dropped of this.chats.slice(0, -MAX_DRAFTS)) void this.#kept.remove("draft", dropped);
  }
}
