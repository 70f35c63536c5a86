// The messages of the chats that were opened: loaded pages of history merged with live messages.

import { compareIds, fromHistory, merge, timeOfId, withLive, withReaction } from "./messages.js";

/** @import {HistoryMessage, HistoryPage, Message, WireReaction} from "./types.js" */

/** When catching up needs more pages than this, they replace all older messages. */
const MAX_CATCH_UP_PAGES = 5;
/** Messages of a page when catching up: the server's maximum. */
const CATCH_UP_LIMIT = "100";

/**
 * @typedef {object} Conversation
 * @property {readonly Message[]} messages in order, without a hole from the oldest to the newest
 * @property {boolean} hasOlder
 * @property {"new" | "loading" | "ready" | "failed"} phase of the newest page
 * @property {"idle" | "loading" | "failed"} older of the page before the oldest message
 */
/** @type {Conversation} */
const UNKNOWN = { messages: [], hasOlder: false, phase: "new", older: "idle" };

/** Dispatches "change" events whose `detail` is the chat_id. */
export class Conversations extends EventTarget {
  #fetch;
  /** @type {Map<string, Conversation>} */
  #all = new Map();

  /** @param {(chat_id: string, query?: {before_id?: string, limit?: string}) => Promise<HistoryPage>} fetch */
  constructor(fetch) {
    super();
    this.#fetch = fetch;
  }

  /** @param {string} chat_id @returns {Conversation} */
  of(chat_id) {
    return this.#all.get(chat_id) ?? UNKNOWN;
  }

  /** Loads the newest page, unless it is loaded. @param {string} chat_id */
  async open(chat_id) {
    const { phase } = this.of(chat_id);
    if (phase === "ready" || phase === "loading") return;
    this.#set(chat_id, { phase: "loading" });
    try {
      const page = await this.#fetch(chat_id);
      if (page.has_older) this.#dropOlder(chat_id, page.messages ?? []);
      this.#merge(chat_id, page, { hasOlder: page.has_older ?? false, phase: "ready", older: "idle" });
    } catch {
      this.#set(chat_id, { phase: "failed" });
    }
  }

  /** Loads the page before the oldest message, if there is one and it isn't being loaded. @param {string} chat_id */
  async loadOlder(chat_id) {
    const { messages, hasOlder, phase, older } = this.of(chat_id);
    const oldest = messages[0];
    if (!oldest || !hasOlder || phase !== "ready" || older === "loading") return;
    this.#set(chat_id, { older: "loading" });
    try {
      const page = await this.#fetch(chat_id, { before_id: oldest.message_id });
      // If older messages have come or gone meanwhile, the page does not adjoin them.
      if (this.of(chat_id).messages[0]?.message_id !== oldest.message_id) this.#set(chat_id, { older: "idle" });
      else this.#merge(chat_id, page, { hasOlder: page.has_older ?? false, older: "idle" });
    } catch {
      this.#set(chat_id, { older: "failed" });
    }
  }

  /** @param {Message} message that arrived live or was just accepted */
  add(message) {
    const { messages, hasOlder } = this.of(message.chat_id);
    const oldest = messages[0];
    // A message that is accepted on its retry may be older than the loaded pages: it comes with its own page.
    if (hasOlder && oldest && compareIds(message.message_id, oldest.message_id) < 0) return;
    const after = withLive(messages, message);
    if (after !== messages) this.#set(message.chat_id, { messages: after });
  }

  /** @param {WireReaction} reaction */
  react(reaction) {
    const conversation = this.#all.get(reaction.chat_id);
    const message = conversation?.messages.find((other) => other.message_id === reaction.message_id);
    if (!conversation || !message) return;
    const after = withReaction(message, reaction);
    if (after === message) return;
    this.#set(reaction.chat_id, {
      messages: conversation.messages.map((other) => (other === message ? after : other)),
    });
  }

  /**
   * Reads the messages of the open chat since a moment, and drops all other chats, which load again when they are
   * opened. Call it again if it throws, and while history may be incomplete.
   * @param {string} open_chat_id empty if none is
   * @param {number} since_ms in milliseconds since 1970: nothing older is missing
   */
  async catchUp(open_chat_id, since_ms) {
    for (const chat_id of [...this.#all.keys()]) if (chat_id !== open_chat_id) this.#all.delete(chat_id);
    if (this.of(open_chat_id).phase === "ready") await this.#readSince(open_chat_id, since_ms);
  }

  /** Repeats the loads that failed. @param {string} chat_id */
  async openAgain(chat_id) {
    const { phase, older } = this.of(chat_id);
    if (phase === "failed") await this.open(chat_id);
    if (older === "failed") await this.loadOlder(chat_id);
  }

  /**
   * Reads page by page from the newest message back to the moment. A message that was just accepted, or arrived live,
   * says nothing about those before it: no known message ends the reading.
   * @param {string} chat_id
   * @param {number} since_ms
   */
  async #readSince(chat_id, since_ms) {
    /** @type {HistoryMessage[]} */
    const items = [];
    let page = await this.#fetch(chat_id, { limit: CATCH_UP_LIMIT });
    for (let pages = 1; ; pages++) {
      items.unshift(...(page.messages ?? []));
      const oldest_id = items[0]?.message.message_id;
      if (!oldest_id || !page.has_older || timeOfId(oldest_id) < since_ms) break;
      if (pages === MAX_CATCH_UP_PAGES) {
        this.#dropOlder(chat_id, items);
        break;
      }
      page = await this.#fetch(chat_id, { before_id: oldest_id, limit: CATCH_UP_LIMIT });
    }
    const isBeyondOldest = this.#older(chat_id, items).length === 0;
    this.#merge(chat_id, { messages: items }, isBeyondOldest ? { hasOlder: page.has_older ?? false } : {});
  }

  /**
   * Drops the messages before these newest ones: some between the two were not read.
   * @param {string} chat_id
   * @param {readonly HistoryMessage[]} newest
   */
  #dropOlder(chat_id, newest) {
    const messages = this.of(chat_id).messages.slice(this.#older(chat_id, newest).length);
    this.#all.set(chat_id, { ...this.of(chat_id), messages });
  }

  /** The known messages before these newest ones. @param {string} chat_id @param {readonly HistoryMessage[]} newest */
  #older(chat_id, newest) {
    const first_id = newest[0]?.message.message_id ?? "0";
    return this.of(chat_id).messages.filter(({ message_id }) => compareIds(message_id, first_id) < 0);
  }

  /** @param {string} chat_id @param {HistoryPage} page @param {Partial<Conversation>} change */
  #merge(chat_id, page, change) {
    const messages = merge(this.of(chat_id).messages, (page.messages ?? []).map(fromHistory));
    this.#set(chat_id, { ...change, messages });
  }

  /** @param {string} chat_id @param {Partial<Conversation>} change */
  #set(chat_id, change) {
    this.#all.set(chat_id, { ...this.of(chat_id), ...change });
    this.dispatchEvent(new CustomEvent("change", { detail: chat_id }));
  }
}
