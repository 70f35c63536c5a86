// The messages of the chats that were opened. Of each chat one piece of its history without a hole is loaded: usually
// the newest, and an older one after opening at the first unread message. Its length is bounded.

import { compareIds, fromHistory, laterId, merge, timeOfId, withLive, withReaction } from "./messages.js";
import { Store } from "./stores/store.js";

/** @import {HistoryMessage, HistoryPage, Message, WireReaction} from "./types.js" */

/** When catching up needs more pages than this, they replace all older messages. */
const MAX_CATCH_UP_PAGES = 5;
/** Messages of a page when catching up and around a message: the server's maximum. */
const LONG_PAGE = "100";
/** Messages of a chat in memory, and how many of them stay when there are more. */
const MAX_MESSAGES = 2_000;
const KEPT_MESSAGES = 1_500;
/** Messages that stay of a chat that is not open any more. */
const KEPT_WHEN_LEFT = 100;
/** Live messages in memory that do not adjoin the loaded piece. */
const MAX_TAIL = 100;
/** Chats in memory: the ones that were opened or received a message last. */
const MAX_CHATS = 50;

/** @typedef {{before_id?: string, after_id?: string, around_id?: string, after_ms?: string, limit?: string}} Query */
/**
 * @typedef {object} Conversation
 * @property {readonly Message[]} messages in order, without a hole from the oldest to the newest
 * @property {boolean} hasOlder
 * @property {boolean} hasNewer whether messages after these exist, or may exist
 * @property {readonly Message[]} tail live messages after the missing ones, while `hasNewer`
 * @property {string} dropped_id the newest message that was in memory and is neither in `messages` nor in `tail`
 * @property {boolean} isStored whether `messages` are copies of this browser, until the first page replaces them
 * @property {"new" | "loading" | "ready" | "failed"} phase of the first page
 * @property {"idle" | "loading" | "failed"} older of the page before the oldest message
 * @property {"idle" | "loading" | "failed"} newer of the page after the newest message
 */
/** @type {Conversation} */
const UNKNOWN = {
  ...{ messages: [], hasOlder: false, hasNewer: true, tail: [], dropped_id: "0" },
  ...{ isStored: false, phase: "new", older: "idle", newer: "idle" },
};

export class Conversations extends Store {
  #fetch;
  /** @type {Map<string, Conversation>} the one that changed last is the last */
  #all = new Map();
  #open = "";
  /** Whether the reader of the open chat is at its end. */
  #isFollowing = true;

  /** @param {(chat_id: string, query?: Query) => Promise<HistoryPage>} fetch */
  constructor(fetch) {
    super();
    this.#fetch = fetch;
  }

  /** @param {string} chat_id @returns {Conversation} */
  of(chat_id) {
    return this.#all.get(chat_id) ?? UNKNOWN;
  }

  /** All messages in memory; some between them may be missing. @param {string} chat_id */
  known(chat_id) {
    const { messages, tail } = this.of(chat_id);
    return tail.length ? [...messages, ...tail] : messages;
  }

  /** Shows copies until the first page is loaded. @param {string} chat_id @param {readonly Message[]} messages */
  restore(chat_id, messages) {
    if (messages.length) this.#set(chat_id, { messages, hasOlder: true, hasNewer: false, isStored: true });
  }

  /**
   * Loads the newest page, or the page around the first unread message if that is older.
   * @param {string} chat_id
   * @param {() => string} mark the id above which messages are unread; empty if none are
   * @param {(isEmpty: boolean) => Promise<void>} [markKnown] returns when `mark` is reliable
   */
  async open(chat_id, mark = () => "", markKnown = async () => {}) {
    this.#open = chat_id;
    this.#isFollowing = true;
    const { phase } = this.of(chat_id);
    if (phase === "loading" || (phase === "ready" && covers(this.of(chat_id), mark()))) return;
    this.#set(chat_id, { phase: "loading" });
    try {
      const page = await this.#fetch(chat_id);
      await markKnown(!page.messages?.length);
      this.#replace(chat_id, page);
      if (!covers(this.of(chat_id), mark())) await this.#loadAround(chat_id, mark());
      this.#set(chat_id, { phase: "ready" });
    } catch {
      this.#set(chat_id, { phase: "failed" });
    }
  }

  /** Replaces the loaded messages by the newest page, unless they are the newest. @param {string} chat_id */
  openNewest(chat_id) {
    return this.open(chat_id);
  }

  /**
   * Replaces the loaded messages by those around an id, unless it is among them.
   * @param {string} chat_id
   * @param {string} id
   */
  openAround(chat_id, id) {
    return this.open(chat_id, () => id);
  }

  /** Frees the memory of a chat that is not shown any more, except for its newest messages. @param {string} chat_id */
  leave(chat_id) {
    if (this.#open === chat_id) this.#open = "";
    const { phase, messages, hasOlder, hasNewer, tail, dropped_id } = this.of(chat_id);
    if (phase !== "ready") return;
    if (hasNewer) this.#put(chat_id, { ...UNKNOWN, tail, dropped_id });
    else if (messages.length > KEPT_WHEN_LEFT)
      this.#set(chat_id, { messages: messages.slice(-KEPT_WHEN_LEFT), hasOlder: true });
    else this.#set(chat_id, { hasOlder });
  }

  /**
   * The reader of the open chat is at its end, or is not: then no message is removed above.
   * @param {boolean} isFollowing
   */
  follow(isFollowing) {
    this.#isFollowing = isFollowing;
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
    const all = this.of(chat_id).messages;
    if (all.length > MAX_MESSAGES) this.#detach(chat_id, all.slice(0, KEPT_MESSAGES));
  }

  /** Loads the page after the newest message, if there is one and it isn't being loaded. @param {string} chat_id */
  async loadNewer(chat_id) {
    const { messages, hasNewer, phase, newer } = this.of(chat_id);
    const newest = messages.at(-1);
    if (!newest || !hasNewer || phase !== "ready" || newer === "loading") return;
    this.#set(chat_id, { newer: "loading" });
    try {
      const page = await this.#fetch(chat_id, { after_id: newest.message_id });
      const isAdjoining = this.of(chat_id).messages.at(-1)?.message_id === newest.message_id;
      if (isAdjoining) this.#append(chat_id, page);
      this.#set(chat_id, { newer: "idle" });
    } catch {
      this.#set(chat_id, { newer: "failed" });
    }
  }

  /** @param {Message} message that arrived live or was just accepted */
  add(message) {
    const { chat_id, message_id } = message;
    const { messages, hasOlder, hasNewer, tail, dropped_id } = this.of(chat_id);
    const oldest = messages[0];
    // A message that is accepted on its retry may be older than the loaded pages: it comes with its own page.
    if (hasOlder && oldest && compareIds(message_id, oldest.message_id) < 0) return;
    if (hasNewer && compareIds(message_id, messages.at(-1)?.message_id ?? "0") > 0) {
      const all = withLive(tail, message);
      const dropped = all.at(-MAX_TAIL - 1)?.message_id ?? "0";
      return this.#set(chat_id, { tail: all.slice(-MAX_TAIL), dropped_id: laterId(dropped_id, dropped) });
    }
    const all = withLive(messages, message);
    if (all === messages) return;
    if (all.length <= MAX_MESSAGES) this.#set(chat_id, { messages: all });
    else if (chat_id !== this.#open || this.#isFollowing)
      this.#set(chat_id, { messages: all.slice(-KEPT_MESSAGES), hasOlder: true });
    else this.#set(chat_id, { hasNewer: true, tail: [message] });
  }

  /** @param {WireReaction} reaction */
  react(reaction) {
    const conversation = this.#all.get(reaction.chat_id);
    const message = this.known(reaction.chat_id).find((other) => other.message_id === reaction.message_id);
    if (!conversation || !message) return;
    const after = withReaction(message, reaction);
    if (after === message) return;
    const replaced = (/** @type {readonly Message[]} */ all) => all.map((other) => (other === message ? after : other));
    this.#set(reaction.chat_id, { messages: replaced(conversation.messages), tail: replaced(conversation.tail) });
  }

  /**
   * Reads the messages of the open chat since a moment, and drops all other chats, which load again when they are
   * opened. Call it again if it throws, and while history may be incomplete.
   * @param {string} open_chat_id empty if none is
   * @param {number} since_ms in milliseconds since 1970: nothing older is missing
   */
  async catchUp(open_chat_id, since_ms) {
    for (const chat_id of [...this.#all.keys()]) if (chat_id !== open_chat_id) this.#all.delete(chat_id);
    const { phase, hasNewer } = this.of(open_chat_id);
    if (phase !== "ready") return;
    if (hasNewer) await this.#readAgain(open_chat_id, since_ms);
    else await this.#readSince(open_chat_id, since_ms);
  }

  /** Repeats the loads that failed. @param {string} chat_id @param {() => Promise<void>} open */
  async openAgain(chat_id, open = () => this.open(chat_id)) {
    const { phase, older, newer } = this.of(chat_id);
    if (phase === "failed") await open();
    if (older === "failed") await this.loadOlder(chat_id);
    if (newer === "failed") await this.loadNewer(chat_id);
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
    let page = await this.#fetch(chat_id, { limit: LONG_PAGE });
    for (let pages = 1; ; pages++) {
      items.unshift(...(page.messages ?? []));
      const oldest_id = items[0]?.message.message_id;
      if (!oldest_id || !page.has_older || timeOfId(oldest_id) < since_ms) break;
      if (pages === MAX_CATCH_UP_PAGES) {
        this.#dropOlder(chat_id, items);
        break;
      }
      page = await this.#fetch(chat_id, { before_id: oldest_id, limit: LONG_PAGE });
    }
    const isBeyondOldest = this.#older(chat_id, items).length === 0;
    this.#merge(chat_id, { messages: items }, isBeyondOldest ? { hasOlder: page.has_older ?? false } : {});
  }

  /**
   * Reads the loaded messages since the moment again, where they are not the newest. Live messages after them come with
   * their pages.
   * @param {string} chat_id
   * @param {number} since_ms
   */
  async #readAgain(chat_id, since_ms) {
    this.#set(chat_id, { tail: [] });
    const newest_id = this.of(chat_id).messages.at(-1)?.message_id ?? "0";
    if (newest_id === "0" || timeOfId(newest_id) < since_ms) return;
    const from_ms = Math.max(since_ms, this.of(chat_id).messages[0]?.at_ms ?? 0);
    let page = await this.#fetch(chat_id, { after_ms: String(from_ms), limit: LONG_PAGE });
    for (let pages = 1; ; pages++) {
      this.#merge(chat_id, page, {});
      const last_id = page.messages?.at(-1)?.message.message_id;
      if (!last_id || !page.has_newer || compareIds(last_id, newest_id) >= 0) return;
      if (pages === MAX_CATCH_UP_PAGES) {
        const isRead = (/** @type {Message} */ { message_id }) => compareIds(message_id, last_id) <= 0;
        return this.#set(chat_id, { messages: this.of(chat_id).messages.filter(isRead) });
      }
      page = await this.#fetch(chat_id, { after_id: last_id, limit: LONG_PAGE });
    }
  }

  /**
   * Replaces the loaded messages by the newest page and the known ones that adjoin it.
   * @param {string} chat_id
   * @param {HistoryPage} page
   */
  #replace(chat_id, page) {
    const { tail, hasNewer } = this.of(chat_id);
    const live = hasNewer ? tail : this.known(chat_id);
    const hasOlder = page.has_older ?? false;
    this.#set(chat_id, { messages: [], tail: live, hasOlder, isStored: false, older: "idle", newer: "idle" });
    this.#append(chat_id, page);
  }

  /** @param {string} chat_id @param {string} id */
  async #loadAround(chat_id, id) {
    const page = await this.#fetch(chat_id, { around_id: id, limit: LONG_PAGE });
    this.#detach(chat_id, []);
    this.#set(chat_id, { hasOlder: page.has_older ?? false });
    this.#append(chat_id, page);
  }

  /**
   * Adds a page after the loaded messages, and the tail if the page reaches it.
   * @param {string} chat_id
   * @param {HistoryPage} page
   */
  #append(chat_id, page) {
    const { messages, tail, hasOlder, dropped_id } = this.of(chat_id);
    const all = merge(messages, (page.messages ?? []).map(fromHistory));
    const [first, last] = [all[0]?.message_id ?? "0", all.at(-1)?.message_id ?? "0"];
    const hasNewer = Boolean(page.has_newer) || compareIds(last, dropped_id) < 0;
    const adjoins = (/** @type {Message} */ { message_id }) => !hasOlder || compareIds(message_id, first) > 0;
    const whole = hasNewer ? all : tail.filter(adjoins).reduce(withLive, all);
    const kept = whole.length > MAX_MESSAGES ? whole.slice(-KEPT_MESSAGES) : whole;
    this.#set(chat_id, {
      messages: kept,
      hasOlder: hasOlder || kept !== whole,
      hasNewer,
      tail: hasNewer ? tail : [],
    });
  }

  /**
   * Leaves only these of the loaded messages; newer ones have to be loaded again.
   * @param {string} chat_id
   * @param {readonly Message[]} messages
   */
  #detach(chat_id, messages) {
    const dropped_id = laterId(this.of(chat_id).dropped_id, this.known(chat_id).at(-1)?.message_id ?? "0");
    this.#set(chat_id, { messages, hasNewer: true, tail: [], dropped_id });
  }

  /**
   * Drops the messages before these newest ones: some between the two were not read.
   * @param {string} chat_id
   * @param {readonly HistoryMessage[]} newest
   */
  #dropOlder(chat_id, newest) {
    const messages = this.of(chat_id).messages.slice(this.#older(chat_id, newest).length);
    this.#put(chat_id, { ...this.of(chat_id), messages });
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
    this.#put(chat_id, { ...this.of(chat_id), ...change });
    this.changed();
  }

  /** @param {string} chat_id @param {Conversation} conversation */
  #put(chat_id, conversation) {
    this.#all.delete(chat_id);
    this.#all.set(chat_id, conversation);
    const [longest] = this.#all.keys();
    if (this.#all.size > MAX_CHATS && longest !== undefined && longest !== this.#open) this.#all.delete(longest);
  }
}

/**
 * Whether the messages above an id begin in the loaded piece; for an empty id, whether the piece is the newest.
 * @param {Conversation} conversation
 * @param {string} mark
 */
function covers({ messages, hasOlder, hasNewer }, mark) {
  const [oldest, newest] = [messages[0], messages.at(-1)];
  if (!mark || !oldest || !newest) return !hasNewer;
  return (
    (!hasOlder || compareIds(oldest.message_id, mark) <= 0) && (!hasNewer || compareIds(newest.message_id, mark) > 0)
  );
}
