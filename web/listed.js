// The ids of messages that may have a change of a listed kind, such as a pin. Whether a message has it follows from its
// state, which live changes keep up to date.

import { setOf } from "./kinds/listed.js";
import { Quotes } from "./quotes.js";
import { Store } from "./stores/store.js";

/** @import {ChangeEvent} from "./changes.js" */
/** @import {ListedKind} from "./kinds/listed.js" */
/** @import {Message} from "./types.js" */
/** @import {ListMessagesResponse} from "./wire.js" */

/** Chats in memory: the ones that were opened or changed last. */
const MAX_CHATS = 50;
/** The most messages of a chat's list, besides one page: further pages are not loaded. */
export const MAX_LISTED = 300;

/**
 * @typedef {object} Ids
 * @property {"loading" | "ready" | "failed"} phase of the page that was requested last
 * @property {ReadonlySet<string>} ids of the messages that may have the change
 * @property {boolean} hasOlder whether there is a further page
 * @property {string} oldest_id the oldest message of the loaded pages; empty if none is loaded
 */
/** @type {Ids} */
const UNKNOWN = { phase: "loading", ids: new Set(), hasOlder: false, oldest_id: "" };

/** The lists of one kind. */
export class Listed extends Store {
  #kind;
  #quotes;
  #fetch;
  /** By chat_id; the one that changed last is the last. @type {Map<string, Ids>} */
  #all = new Map();

  /**
   * @param {ListedKind} kind
   * @param {Quotes} quotes has the messages
   * @param {(chat_id: string, before_id: string) => Promise<ListMessagesResponse>} fetch the messages of the list
   * before an id, or the newest ones for an empty id
   */
  constructor(kind, quotes, fetch) {
    super();
    this.#kind = kind;
    this.#quotes = quotes;
    this.#fetch = fetch;
  }

  /** @param {string} chat_id */
  of(chat_id) {
    return this.#all.get(chat_id) ?? UNKNOWN;
  }

  /** Loads the first page: the newest messages of the list. @param {string} chat_id */
  load(chat_id) {
    return this.#load(chat_id, "");
  }

  /** Loads the next page, or the first one if none is loaded. @param {string} chat_id */
  loadOlder(chat_id) {
    return this.#load(chat_id, this.of(chat_id).oldest_id);
  }

  /** @param {ChangeEvent} event a change to a message */
  change({ change: { chat_id, target_id = "0", [this.#kind]: body } }) {
    if (body?.set) this.#set(chat_id, { ids: new Set([...this.of(chat_id).ids, target_id].slice(-MAX_LISTED)) });
  }

  /** @param {readonly Message[]} messages of which this browser had copies */
  restore(messages) {
    for (const message of messages) {
      const event = setOf(message, this.#kind);
      if (event) this.change(event);
    }
  }

  /** @param {string} chat_id @param {string} before_id */
  async #load(chat_id, before_id) {
    this.#set(chat_id, { phase: "loading", oldest_id: before_id }); // after a failure, the same page is loaded again
    try {
      const { messages = [], has_older = false } = await this.#fetch(chat_id, before_id);
      this.#quotes.keep(messages);
      const read = messages.map(({ message }) => message.message_id);
      const ids = new Set([...this.of(chat_id).ids, ...read]);
      const hasOlder = has_older && ids.size < MAX_LISTED;
      this.#set(chat_id, { phase: "ready", ids, hasOlder, oldest_id: read[0] ?? before_id });
    } catch {
      this.#set(chat_id, { phase: "failed" });
    }
  }

  /** @param {string} chat_id @param {Partial<Ids>} change */
  #set(chat_id, change) {
    const after = { ...this.of(chat_id), ...change };
    this.#all.delete(chat_id);
    this.#all.set(chat_id, after);
    const [longest] = this.#all.keys();
    if (this.#all.size > MAX_CHATS && longest !== undefined) this.#all.delete(longest);
    this.changed();
  }
}
