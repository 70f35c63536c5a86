// The messages of the chats that were opened: loads the pieces of their history, and keeps a bounded number of chats.

import { fold, UNCHANGED } from "./changes.js";
import * as pieces from "./history.js";
import { compareIds, timeOfId } from "./ids.js";
import { withChanges } from "./messages.js";
import { Store } from "./stores/store.js";

/** @import {ChangeEvent, State} from "./changes.js" */
/** @import {Piece} from "./history.js" */
/** @import {Message} from "./types.js" */
/** @import {HistoryMessage, ListMessagesResponse} from "./wire.js" */

/** When catching up needs more pages than this, they replace all older messages. */
const MAX_CATCH_UP_PAGES = 5;
/** Messages of a page when catching up and around a message: the server's maximum. */
const LONG_PAGE = "100";
/** Chats in memory: the ones that were opened or received a message last. */
const MAX_CHATS = 50;
/** Messages of which recent live changes are kept. */
const MAX_RECENT = 500;

/** @typedef {{before_id?: string, after_id?: string, around_id?: string, after_ms?: string, limit?: string}} Query */
/**
 * The state of the loads of a piece: of its first page, and of the pages before and after the piece.
 * @typedef {object} Loads
 * @property {"new" | "loading" | "ready" | "failed"} phase
 * @property {boolean} isStored whether the messages are this browser's copies, which the first page replaces
 * @property {"idle" | "loading" | "failed"} older
 * @property {"idle" | "loading" | "failed"} newer
 */
/** @typedef {Piece & Loads} Conversation */
/** @type {Conversation} */
const UNKNOWN = { ...pieces.NOTHING, phase: "new", isStored: false, older: "idle", newer: "idle" };

export class Conversations extends Store {
  /** The chat that is open on the page; empty if there is none. */
  openChat = "";
  #fetch;
  /** @type {Map<string, Conversation>} the one that changed last is the last */
  #all = new Map();
  /**
   * Recent live changes by message, loaded or not: they may arrive before their message, and the archive lags.
   * @type {Map<string, State>} the one that changed last is the last
   */
  #recent = new Map();
  /** Whether the reader of the open chat is at its end. */
  #isFollowing = true;

  /** @param {(chat_id: string, query?: Query) => Promise<ListMessagesResponse>} fetch */
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
    return pieces.known(this.of(chat_id));
  }

  /** The message, if it is in memory. @param {string} chat_id @param {string} message_id */
  find(chat_id, message_id) {
    return pieces.find(this.of(chat_id), message_id);
  }

  /** The message with the recent changes to it. @param {Message} message */
  current(message) {
    return withChanges(message, (this.#recent.get(message.message_id) ?? UNCHANGED).values());
  }

  /** Opens a chat, and frees memory of the chat that was open. @param {string} chat_id empty to open none */
  enter(chat_id) {
    if (chat_id === this.openChat) return;
    const before = this.of(this.openChat);
    const phase = before.hasNewer ? "new" : "ready";
    if (before.phase === "ready") this.#put(this.openChat, { ...pieces.left(before), phase });
    this.openChat = chat_id;
  }

  /** Shows copies until the first page is loaded. @param {string} chat_id @param {readonly Message[]} messages */
  restore(chat_id, messages) {
    if (messages.length) this.#set(chat_id, { messages, hasOlder: true, hasNewer: false, isStored: true });
  }

  /**
   * Loads the newest page of the open chat, or the page around an older first unread message.
   * @param {string} chat_id which becomes the open chat
   * @param {() => string} mark the id above which messages are unread; empty if none are
   * @param {(isEmpty: boolean) => Promise<void>} [markKnown] returns when `mark` is reliable
   */
  async open(chat_id, mark = () => "", markKnown = async () => {}) {
    this.enter(chat_id);
    this.#isFollowing = true;
    const { phase } = this.of(chat_id);
    if (phase === "loading" || (phase === "ready" && pieces.covers(this.of(chat_id), mark()))) return;
    this.#set(chat_id, { phase: "loading" });
    try {
      const page = await this.#read(chat_id);
      await markKnown(!page.messages?.length);
      const loads = { isStored: false, older: /** @type {"idle"} */ ("idle"), newer: /** @type {"idle"} */ ("idle") };
      this.#set(chat_id, { ...pieces.atNewest(this.of(chat_id), page), ...loads });
      if (!pieces.covers(this.of(chat_id), mark())) {
        const around = await this.#read(chat_id, { around_id: mark(), limit: LONG_PAGE });
        this.#set(chat_id, pieces.atPage(this.of(chat_id), around));
      }
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
      const page = await this.#read(chat_id, { before_id: oldest.message_id });
      // If older messages have come or gone meanwhile, the page does not adjoin them.
      const isAdjoining = this.of(chat_id).messages[0]?.message_id === oldest.message_id;
      if (isAdjoining) this.#set(chat_id, pieces.withOlder(this.of(chat_id), page));
      this.#set(chat_id, { older: "idle" });
    } catch {
      this.#set(chat_id, { older: "failed" });
    }
  }

  /** Loads the page after the newest message, if there is one and it isn't being loaded. @param {string} chat_id */
  async loadNewer(chat_id) {
    const { messages, hasNewer, phase, newer } = this.of(chat_id);
    const newest = messages.at(-1);
    if (!newest || !hasNewer || phase !== "ready" || newer === "loading") return;
    this.#set(chat_id, { newer: "loading" });
    try {
      const page = await this.#read(chat_id, { after_id: newest.message_id });
      const isAdjoining = this.of(chat_id).messages.at(-1)?.message_id === newest.message_id;
      if (isAdjoining) this.#set(chat_id, pieces.withNewer(this.of(chat_id), page));
      this.#set(chat_id, { newer: "idle" });
    } catch {
      this.#set(chat_id, { newer: "failed" });
    }
  }

  /** @param {Message} message that arrived live or was just accepted */
  add(message) {
    const { chat_id } = message;
    const before = this.of(chat_id);
    const after = pieces.withMessage(before, this.current(message), chat_id !== this.openChat || this.#isFollowing);
    if (after !== before) this.#set(chat_id, after);
  }

  /** @param {ChangeEvent} event a change to a message */
  change(event) {
    const { chat_id, target_id = "0" } = event.change;
    this.#remember(target_id, event);
    const before = this.of(chat_id);
    const after = pieces.withChange(before, event);
    if (after !== before) this.#set(chat_id, after);
  }

  /** @param {string} message_id @param {ChangeEvent} event */
  #remember(message_id, event) {
    const state = fold(this.#recent.get(message_id) ?? UNCHANGED, [event]);
    this.#recent.delete(message_id);
    this.#recent.set(message_id, state);
    const [oldest] = this.#recent.keys();
    if (this.#recent.size > MAX_RECENT && oldest !== undefined) this.#recent.delete(oldest);
  }

  /**
   * Reads the messages of the open chat since a moment, and drops all other chats, which load again when they are
   * opened. Call it again if it throws, and while history may be incomplete.
   * @param {number} since_ms in milliseconds since 1970: nothing older is missing
   */
  async catchUp(since_ms) {
    const { openChat } = this;
    for (const chat_id of [...this.#all.keys()]) if (chat_id !== openChat) this.#all.delete(chat_id);
    const { phase, hasNewer } = this.of(openChat);
    if (phase !== "ready") return;
    if (hasNewer) await this.#readAgain(openChat, since_ms);
    else await this.#readSince(openChat, since_ms);
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
    let page = await this.#read(chat_id, { limit: LONG_PAGE });
    let isWhole = true;
    for (let pages = 1; ; pages++) {
      items.unshift(...(page.messages ?? []));
      const oldest_id = items[0]?.message.message_id;
      if (!oldest_id || !page.has_older || timeOfId(oldest_id) < since_ms) break;
      isWhole = pages < MAX_CATCH_UP_PAGES;
      if (!isWhole) break;
      page = await this.#read(chat_id, { before_id: oldest_id, limit: LONG_PAGE });
    }
    const read = { hasOlder: page.has_older ?? false, isWhole };
    this.#set(chat_id, pieces.withNewest(this.of(chat_id), this.#withRecent(items), read));
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
    let page = await this.#read(chat_id, { after_ms: String(from_ms), limit: LONG_PAGE });
    for (let pages = 1; ; pages++) {
      this.#set(chat_id, pieces.withPage(this.of(chat_id), page));
      const last_id = page.messages?.at(-1)?.message.message_id;
      if (!last_id || !page.has_newer || compareIds(last_id, newest_id) >= 0) return;
      if (pages === MAX_CATCH_UP_PAGES) return this.#set(chat_id, pieces.upTo(this.of(chat_id), last_id));
      page = await this.#read(chat_id, { after_id: last_id, limit: LONG_PAGE });
    }
  }

  /** Reads a page of history. @param {string} chat_id @param {Query} [query] */
  async #read(chat_id, query) {
    const page = await this.#fetch(chat_id, query);
    return { ...page, messages: this.#withRecent(page.messages ?? []) };
  }

  /** The messages with the recent changes to them. @param {HistoryMessage[]} items @returns {HistoryMessage[]} */
  #withRecent(items) {
    return items.map((item) => {
      const recent = this.#recent.get(item.message.message_id);
      return recent ? { ...item, changes: [...(item.changes ?? []), ...recent.values()] } : item;
    });
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
    if (this.#all.size > MAX_CHATS && longest !== undefined && longest !== this.openChat) this.#all.delete(longest);
  }
}
