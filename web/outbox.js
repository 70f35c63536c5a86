// The queue of messages that are not accepted yet. A message that is finally refused stays as failed, until the person
// sends it again or deletes it.

import { isQueued, newEntry, Queue } from "./queue.js";
import { refusalText } from "./refusals.js";
import { Kept } from "./stores/kept.js";

/** @import {Content, Entry} from "./types.js" */
/** @import {Refused} from "./wire.js" */

/** @extends {Queue<Entry>} */
export class Outbox extends Queue {
  /** @param {Kept} kept */
  constructor(kept) {
    super(kept, "outbox", isEntry);
  }

  /**
   * The last failed message, else the last message, of each chat with messages that are not accepted.
   * @returns {Map<string, Entry>} by chat_id
   */
  byChat() {
    /** @type {Map<string, Entry>} */
    const shown = new Map();
    for (const entry of this.all) {
      const isHidden = entry.state !== "failed" && shown.get(entry.chat_id)?.state === "failed";
      if (!isHidden) shown.set(entry.chat_id, entry);
    }
    return shown;
  }

  /**
   * Returns when the message is kept; only from then on it is sent.
   * @param {string} chat_id
   * @param {Content} content
   * @param {number} now_ms
   */
  async add(chat_id, content, now_ms) {
    /** @type {Entry} */
    const entry = { ...newEntry(chat_id, now_ms), ...content, error: "" };
    await this.keep(entry);
    this.put(entry);
  }

  /** A message is sent when its files are uploaded. @override @param {Entry} entry */
  isReady({ files = [] }) {
    return files.every(({ file_id }) => file_id);
  }

  /**
   * Plans to send a refused message again, or marks it as failed.
   * @override
   * @param {string} client_id
   * @param {Refused} refused
   * @param {number} now_ms
   * @returns {boolean} whether the refusal is final
   */
  refused(client_id, refused, now_ms) {
    const entry = this.get(client_id);
    const isFinal = super.refused(client_id, refused, now_ms);
    if (entry && isFinal) this.change({ ...entry, state: "failed", error: refusalText(refused) });
    return isFinal;
  }

  /** Makes a failed message pending again, in its place. @param {string} client_id */
  retry(client_id) {
    const entry = this.get(client_id);
    if (entry) this.change({ ...entry, state: "pending", error: "" });
  }
}

/** @param {any} value @returns {value is Entry} */
function isEntry(value) {
  return isQueued(value) && [value.body, value.error].every((text) => typeof text === "string");
}
