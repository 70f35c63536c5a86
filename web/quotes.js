// The messages to which others reply: loaded ones from their conversation, others one by one from history.

import { idBelow } from "./ids.js";
import { fromHistory, withChanges } from "./messages.js";
import { Conversations } from "./conversations.js";
import { Store } from "./stores/store.js";

/** @import {ChangeEvent} from "./changes.js" */
/** @import {Query} from "./conversations.js" */
/** @import {Message} from "./types.js" */
/** @import {HistoryMessage, ListMessagesResponse} from "./wire.js" */

/** Messages in memory besides those of conversations. */
const MAX_QUOTES = 500;
/** After a failed load nothing is loaded for this time, in milliseconds. */
const FAILURE_PAUSE_MS = 5_000;

export class Quotes extends Store {
  #conversations;
  #fetch;
  /** By message_id; null for a message that does not exist. @type {Map<string, Message | null>} */
  #found = new Map();
  /** The messages to load, by message_id. @type {Map<string, {chat_id: string, message_id: string}>} */
  #wanted = new Map();
  #isLoading = false;

  /**
   * @param {Conversations} conversations
   * @param {(chat_id: string, query?: Query) => Promise<ListMessagesResponse>} fetch
   */
  constructor(conversations, fetch) {
    super();
    this.#conversations = conversations;
    this.#fetch = fetch;
  }

  /**
   * The message, which is loaded if necessary; null if it does not exist, undefined until it is loaded.
   * @param {string} chat_id
   * @param {string} message_id
   */
  get(chat_id, message_id) {
    const message = this.#conversations.find(chat_id, message_id) ?? this.#found.get(message_id);
    if (message === undefined) this.#want({ chat_id, message_id });
    return message;
  }

  /** @param {ChangeEvent} event a change to a message */
  change(event) {
    const message_id = event.change.target_id ?? "0";
    const message = this.#found.get(message_id);
    if (message) this.#put(message_id, withChanges(message, [event]));
  }

  /** Keeps messages of history that will be asked for. @param {readonly HistoryMessage[]} items */
  keep(items) {
    for (const item of items) this.#put(item.message.message_id, this.#conversations.current(fromHistory(item)));
  }

  /** Forgets the messages of chats of which changes may be missing. @param {(chat_id: string) => boolean} isStale */
  forget(isStale) {
    for (const [message_id, message] of this.#found)
      if (!message || isStale(message.chat_id)) this.#found.delete(message_id);
  }

  /** @param {{chat_id: string, message_id: string}} place */
  #want(place) {
    if (this.#wanted.size < MAX_QUOTES) this.#wanted.set(place.message_id, place);
    if (!this.#isLoading) void this.#load();
  }

  /** Loads the wanted messages, one after the other. */
  async #load() {
    this.#isLoading = true;
    for (const [message_id, { chat_id }] of this.#wanted) {
      try {
        const { messages = [] } = await this.#fetch(chat_id, { after_id: idBelow(message_id), limit: "1" });
        const found = messages.map(fromHistory).find((message) => message.message_id === message_id);
        this.#put(message_id, found ? this.#conversations.current(found) : null);
      } catch {
        await new Promise((resolve) => setTimeout(resolve, FAILURE_PAUSE_MS));
      }
      this.#wanted.delete(message_id); // after a failure the page wants it again, if it still shows the quote
      this.changed();
    }
    this.#isLoading = false;
  }

  /** @param {string} message_id @param {Message | null} message */
  #put(message_id, message) {
    const before = this.#found.get(message_id); // it may have changes that the message lacks
    this.#found.delete(message_id);
    this.#found.set(message_id, message && before ? withChanges(message, before.changes.values()) : message);
    const [oldest] = this.#found.keys();
    if (this.#found.size > MAX_QUOTES && oldest !== undefined) this.#found.delete(oldest);
  }
}
