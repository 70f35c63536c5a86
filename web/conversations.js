// The messages of the chats that were opened: loaded pages of history merged with live messages.

import { compareIds, fromHistory, merge, withLive, withReaction } from "./messages.js";

/** @import {HistoryPage, Message, WireReaction} from "./types.js" */

/** When catching up needs more pages than this, the newest page replaces all loaded messages. */
const MAX_CATCH_UP_PAGES = 5;

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
  /** Per chat that is catching up, the message up to which nothing is missing. @type {Map<string, string>} */
  #completeUpTo = new Map();

  /** @param {(chat_id: string, anchor?: {before_id?: string, after_id?: string}) => Promise<HistoryPage>} fetch */
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
      this.#merge(chat_id, page, { hasOlder: page.has_older ?? false, older: "idle" });
    } catch {
      this.#set(chat_id, { older: "failed" });
    }
  }

  /** @param {Message} message that arrived live or was just accepted */
  add(message) {
    const { messages } = this.of(message.chat_id);
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
   * Reads missed messages of the open chat and drops all other chats, which load again when they are opened.
   * Call it again if it throws, and while history may be incomplete; `caughtUp` ends the catch-up.
   * @param {string} open_chat_id empty if none is
   */
  async catchUp(open_chat_id) {
    for (const chat_id of [...this.#all.keys()]) if (chat_id !== open_chat_id) this.#all.delete(chat_id);
    const { messages, phase } = this.of(open_chat_id);
    if (phase !== "ready") return;
    const newest_id = this.#completeUpTo.get(open_chat_id) ?? messages.at(-1)?.message_id ?? "0";
    this.#completeUpTo.set(open_chat_id, newest_id);
    await this.#readMissed(open_chat_id, newest_id);
  }

  /** Ends the catch-up: all missed messages have been read. */
  caughtUp() {
    this.#completeUpTo.clear();
  }

  /** Repeats the loads that failed. @param {string} chat_id */
  async openAgain(chat_id) {
    const { phase, older } = this.of(chat_id);
    if (phase === "failed") await this.open(chat_id);
    if (older === "failed") await this.loadOlder(chat_id);
  }

  /** @param {string} chat_id @param {string} newest_id */
  async #readMissed(chat_id, newest_id) {
    const page = await this.#fetch(chat_id);
    const oldest_id = page.messages?.[0]?.message.message_id ?? "0";
    let reached = !page.has_older || compareIds(oldest_id, newest_id) <= 0;
    for (let pages = 0; !reached && pages < MAX_CATCH_UP_PAGES; pages++) {
      const next = await this.#fetch(chat_id, { after_id: newest_id });
      this.#merge(chat_id, next, {});
      newest_id = next.messages?.at(-1)?.message.message_id ?? newest_id;
      reached = !next.has_newer || compareIds(oldest_id, newest_id) <= 0;
    }
    if (reached) this.#merge(chat_id, page, {});
    else this.#set(chat_id, { messages: (page.messages ?? []).map(fromHistory), hasOlder: true });
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
