// The ids of messages that may be pinned. Whether a message is pinned follows from its state, which live changes keep up to
// date.

import { pinOf } from "./kinds/pinned.js";
import { Quotes } from "./quotes.js";
import { Store } from "./stores/store.js";

/** @import {ChangeEvent} from "./changes.js" */
/** @import {Message} from "./types.js" */
/** @import {ListMessagesResponse} from "./wire.js" */

/** Chats in memory: the ones that were opened or changed last. */
const MAX_CHATS = 50;
/** The most messages of a chat that may be pinned, besides one page: further pages are not loaded. */
export const MAX_PINS = 300;

/**
 * @typedef {object} Pinned
 * @property {"loading" | "ready" | "failed"} phase of the page that was requested last
 * @property {ReadonlySet<string>} ids of the messages that may be pinned
 * @property {boolean} hasOlder whether there is a further page
 * @property {string} oldest_id the oldest message of the loaded pages; empty if none is loaded
 */
/** @type {Pinned} */
const UNKNOWN = { phase: "loading", ids: new Set(), hasOlder: false, oldest_id: "" };

export class Pins extends Store {
  #quotes;
  #fetch;
  /** By chat_id; the one that changed last is the last. @type {Map<string, Pinned>} */
  #all = new Map();

  /**
   * @param {Quotes} quotes has the messages
   * @param {(chat_id: string, before_id: string) => Promise<ListMessagesResponse>} fetch the pinned messages before an
   * id, or the newest ones for an empty id
   */
  constructor(quotes, fetch) {
    super();
    this.#quotes = quotes;
    this.#fetch = fetch;
  }

  /** @param {string} chat_id */
  of(chat_id) {
    return this.#all.get(chat_id) ?? UNKNOWN;
  }

  /** Loads the first page: the newest pinned messages. @param {string} chat_id */
  load(chat_id) {
    return this.#load(chat_id, "");
  }

  /** Loads the next page, or the first one if none is loaded. @param {string} chat_id */
  loadOlder(chat_id) {
    return this.#load(chat_id, this.of(chat_id).oldest_id);
  }

  /** @param {ChangeEvent} event a change to a message */
  change({ change: { chat_id, target_id = "0", pinned } }) {
    if (pinned?.set) this.#set(chat_id, { ids: new Set([...this.of(chat_id).ids, target_id].slice(-MAX_PINS)) });
  }

  /** @param {readonly Message[]} messages of which this browser had copies */
  restore(messages) {
    for (const message of messages) {
      const pin = pinOf(message);
      if (pin) this.change(pin);
    }
  }

  /** @param {string} chat_id @param {string} before_id */
  async #load(chat_id, before_id) {
    this.#set(chat_id, { phase: "loading" });
    try {
      const { messages = [], has_older = false } = await this.#fetch(chat_id, before_id);
      this.#quotes.keep(messages);
      const read = messages.map(({ message }) => message.message_id);
      const ids = new Set([...this.of(chat_id).ids, ...read]);
      const hasOlder = has_older && ids.size < MAX_PINS;
      this.#set(chat_id, { phase: "ready", ids, hasOlder, oldest_id: read[0] ?? before_id });
    } catch {
      this.#set(chat_id, { phase: "failed" });
    }
  }

  /** @param {string} chat_id @param {Partial<Pinned>} change */
  #set(chat_id, change) {
    const after = { ...this.of(chat_id), ...change };
    this.#all.delete(chat_id);
    this.#all.set(chat_id, after);
    const [longest] = this.#all.keys();
    if (this.#all.size > MAX_CHATS && longest !== undefined) this.#all.delete(longest);
    this.changed();
  }
}
