// Unsent texts by chat, kept across reloads: at most `MAX_DRAFTS` texts of `MAX_LENGTH` characters.

import { Outbox } from "./outbox.js";
import { Kept } from "./stores/kept.js";
import { bodyOf } from "./writing.js";

/** If there are more drafts, the ones that changed longest ago are dropped. */
export const MAX_DRAFTS = 500;
/** Only the start of a longer text is kept: enough for several messages. */
export const MAX_LENGTH = 100_000;

export class Drafts {
  #kept;

  /** @param {Kept} kept @param {Outbox} outbox a draft that became a message just before the page closed is dropped */
  constructor(kept, outbox) {
    this.#kept = kept;
    for (const [chat_id] of kept.all("draft"))
      if (outbox.of(chat_id).some(({ body }) => body === bodyOf(this.get(chat_id)))) this.keep(chat_id, "");
  }

  /** @param {string} chat_id */
  get(chat_id) {
    const text = this.#kept.get("draft", chat_id);
    return typeof text === "string" ? text : "";
  }

  /** The chats with a draft, the last changed draft at the end. */
  get chats() {
    return this.#kept.all("draft").map(([chat_id]) => chat_id);
  }

  /** @param {string} chat_id @param {string} text an empty text deletes the draft */
  keep(chat_id, text) {
    if (text) void this.#kept.put("draft", chat_id, text.slice(0, MAX_LENGTH));
    else if (this.get(chat_id)) void this.#kept.remove("draft", chat_id);
    for (const dropped of this.chats.slice(0, -MAX_DRAFTS)) void this.#kept.remove("draft", dropped);
  }
}
