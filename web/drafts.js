// Unsent texts by chat, kept across reloads.

import { Outbox } from "./outbox.js";
import { Kept } from "./stores/kept.js";

export class Drafts {
  #kept;

  /** @param {Kept} kept @param {Outbox} outbox a draft that became a message just before the page closed is dropped */
  constructor(kept, outbox) {
    this.#kept = kept;
    for (const [chat_id] of kept.all("draft"))
      if (outbox.of(chat_id).some(({ body }) => body === this.get(chat_id).trim())) this.keep(chat_id, "");
  }

  /** @param {string} chat_id */
  get(chat_id) {
    const text = this.#kept.get("draft", chat_id);
    return typeof text === "string" ? text : "";
  }

  /** @param {string} chat_id @param {string} text an empty text deletes the draft */
  keep(chat_id, text) {
    if (text) void this.#kept.put("draft", chat_id, text);
    else if (this.get(chat_id)) void this.#kept.remove("draft", chat_id);
  }
}
