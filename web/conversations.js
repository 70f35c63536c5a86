// The messages of the chats that were opened: loads the pieces of their history, and keeps a bounded number of chats.

import { fold, UNCHANGED } from "./changes.js";
import * as pieces from "./history.js";
import { compareIds, idBelow, laterId } from "./ids.js";
import { withChanges } from "./messages.js";
import { Store } from "./stores/store.js";

/** @import {ChangeEvent, State} from "./changes.js" */
/** @import {Piece} from "./history.js" */
/** @import {Message} from "./types.js" */
/** @import {Event as WireEvent, HistoryMessage, ListChangesResponse, ListMessagesResponse} from "./wire.js" */

/** Messages of a page around a message: the server's maximum. */
const LONG_PAGE = "100";
/** Chats that are caught up at once: browsers have six connections to a server, and the person needs some. */
const PARALLEL = 4;
/** Chats in memory: the ones that were opened or received a message last. */
const MAX_CHATS = 50;
/** Messages of which recent live changes are kept. */
const MAX_RECENT = 500;

/** @typedef {{before_id?: string, after_id?: string, around_id?: string, limit?: string, having?: string}} Query */
/**
 * The state of the loads of a piece: of its first page, and of the pages before and after the piece; and how far it is
 * complete.
 * @typedef {object} Loads
 * @property {"new" | "loading" | "ready" | "failed"} phase
 * @property {boolean} isStored whether the messages are this browser's copies, of which later events are not read yet
 * @property {string} after an event id: all events up to it are in the piece, as far as they concern it. 0: not known,
 * and copies may have holes
 * @property {"idle" | "loading" | "failed"} older
 * @property {"idle" | "loading" | "failed"} newer
 */
/** @typedef {Piece & Loads} Conversation */
/** @type {Conversation} */
const UNKNOWN = { ...pieces.NOTHING, phase: "new", isStored: false, after: "0", older: "idle", newer: "idle" };

export class Conversations extends Store {
  /** The chat that is open on the page; empty if there is none. */
  openChat = "";
  /** Called with each missed event of a chat, in order. @param {WireEvent} _event */
  onMissed = (_event) => {};
  /** Called when too much was missed of a chat: its messages were dropped. @param {string} _chat_id */
  onDropped = (_chat_id) => {};
  #fetch;
  #fetchChanges;
  /** @type {Map<string, Conversation>} the one that changed last is the last */
  #all = new Map();
  /**
   * Recent live changes by message, loaded or not: they may arrive before their message, and the archive lags.
   * @type {Map<string, State>} the one that changed last is the last
   */
  #recent = new Map();
  /** @type {Map<string, Promise<void>>} the last load of each chat; it goes on while the chat's phase is "loading" */
  #opening = new Map();
  /** Whether the reader of the open chat is at its end. */
  #isFollowing = true;
  /** The message that the reader of the open chat sees; empty if there is none. */
  #place = () => "";
  #isChannel;

  /**
   * @param {(chat_id: string, query?: Query) => Promise<ListMessagesResponse>} fetch a page of history
   * @param {(chat_id: string, after: string) => Promise<ListChangesResponse>} fetchChanges the events after an id
   * @param {(chat_id: string) => boolean} [isChannel] whether only the session in which the chat is open gets its events
   */
  constructor(fetch, fetchChanges, isChannel = () => false) {
    super();
    this.#fetch = fetch;
    this.#fetchChanges = fetchChanges;
    this.#isChannel = isChannel;
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

  /** Whether all events of a chat arrive, except of a channel that is not open. @param {string} chat_id */
  isLive(chat_id) {
    return chat_id === this.openChat || !this.#isChannel(chat_id);
  }

  /** Opens a chat, and frees memory of the chat that was open. @param {string} chat_id empty to open none */
  enter(chat_id) {
    if (chat_id === this.openChat) return;
    const before_id = this.openChat;
    this.openChat = chat_id;
    if (this.of(before_id).phase === "ready") this.#leave(before_id);
  }

  /** Keeps the newest messages of a chat that is not open; those of a channel are like copies. @param {string} chat_id */
  #leave(chat_id) {
    const piece = pieces.left(this.of(chat_id));
    const isStored = !piece.hasNewer && !this.isLive(chat_id);
    this.#put(chat_id, { ...piece, phase: piece.hasNewer || isStored ? "new" : "ready", isStored });
  }

  /**
   * Shows copies of a chat's newest messages.
   * @param {string} chat_id
   * @param {Pick<Conversation, "messages" | "hasOlder" | "after">} piece
   */
  restore(chat_id, { messages, hasOlder, after }) {
    if (messages.length) this.#set(chat_id, { messages, hasOlder, after, hasNewer: false, isStored: true });
  }

  /**
   * Loads the newest page of the open chat, or the events that its copies lack, and the page around an older first
   * unread message; nothing if the messages from the mark on are loaded.
   * @param {string} chat_id which becomes the open chat
   * @param {() => string} mark the id above which the reader wants messages, such as unread ones; empty: the newest
   * @param {(isEmpty: boolean) => Promise<void>} [markKnown] returns when `mark` is reliable
   */
  async open(chat_id, mark = () => "", markKnown = async () => {}) {
    this.enter(chat_id);
    this.#isFollowing = true;
    // A load may be of another page than this one, and of several calls that wait for it, each may load its own.
    while (this.of(chat_id).phase === "loading") await this.#opening.get(chat_id);
    const isDone = this.of(chat_id).phase === "ready" && pieces.covers(this.of(chat_id), mark());
    if (isDone || chat_id !== this.openChat) return;
    const opening = this.#open(chat_id, mark, markKnown);
    this.#opening.set(chat_id, opening);
    await opening;
  }

  /** @param {string} chat_id @param {() => string} mark @param {(isEmpty: boolean) => Promise<void>} markKnown */
  async #open(chat_id, mark, markKnown) {
    const { isStored, after } = this.of(chat_id);
    this.#set(chat_id, { phase: "loading" });
    try {
      const isCopy = isStored && after !== "0";
      const missed = isCopy ? await this.#fetchChanges(chat_id, after) : { too_old: true };
      if (isCopy && missed.too_old) this.onDropped(chat_id);
      if (missed.too_old) this.#replace(chat_id, pieces.atNewest, await this.#read(chat_id));
      else this.#add(chat_id, missed);
      await markKnown(!this.of(chat_id).messages.length);
      if (!pieces.covers(this.of(chat_id), mark())) {
        const around = await this.#read(chat_id, { around_id: mark(), limit: LONG_PAGE });
        this.#replace(chat_id, pieces.atPage, around);
      }
      this.#set(chat_id, { phase: "ready", isStored: false });
      if (!this.isLive(chat_id)) this.#leave(chat_id);
    } catch {
      this.#set(chat_id, { phase: "failed" });
    }
  }

  /**
   * The reader of the open chat is at its end, or is not: then no message is removed above.
   * @param {boolean} isFollowing
   * @param {() => string} [place] returns the id of the message that the reader sees; empty if there is none
   */
  follow(isFollowing, place = () => "") {
    this.#isFollowing = isFollowing;
    this.#place = place;
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
    const { chat_id, control, message_id } = message;
    if (control?.version === "1") this.#begin(chat_id, message_id);
    const before = this.of(chat_id);
    const after = pieces.withMessage(before, this.current(message), chat_id !== this.openChat || this.#isFollowing);
    if (after !== before) this.#set(chat_id, after);
  }

  /** A group was created: nothing happened in it before. @param {string} chat_id @param {string} message_id */
  #begin(chat_id, message_id) {
    const { phase, messages, tail } = this.of(chat_id);
    if (phase === "new" && !messages.length && !tail.length)
      this.#set(chat_id, { phase: "ready", hasNewer: false, after: idBelow(message_id) });
  }

  /**
   * @param {ChangeEvent} event a change to a message
   * @param {boolean} [isRecorded] whether history has it: a page that is read later includes it
   */
  change(event, isRecorded = false) {
    const { chat_id, target_id = "0" } = event.change;
    const before = this.of(chat_id);
    const mayPrecede = compareIds(target_id, before.after) > 0 && !this.find(chat_id, target_id);
    if (!isRecorded || mayPrecede) this.#remember(target_id, event);
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

  /** The live chats whose messages are in memory, or are being loaded; the open chat first. */
  get held() {
    const ids = [...this.#all.keys()].filter((chat_id) => this.isHeld(chat_id) && this.isLive(chat_id));
    return ids.sort((a, b) => Number(b === this.openChat) - Number(a === this.openChat));
  }

  /** Whether the messages of a chat are in memory without a hole, or are being loaded. @param {string} chat_id */
  isHeld(chat_id) {
    const { messages, phase, hasNewer, isStored, after } = this.of(chat_id);
    const isWhole = messages.length > 0 && !(isStored && after === "0");
    return isWhole || phase === "loading" || (phase === "ready" && !hasNewer);
  }

  /**
   * Reads the missed events of chats in memory.
   * @param {readonly string[]} chat_ids
   * @returns {Promise<boolean>} whether all are read; if not, call it again
   */
  async catchUp(chat_ids) {
    const left = [...chat_ids];
    let isWhole = true;
    const read = async () => {
      for (let chat_id = left.shift(); chat_id; chat_id = left.shift()) {
        const isRead = await this.#catchUp(chat_id).catch(() => false);
        isWhole &&= isRead;
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, read));
    return isWhole;
  }

  /**
   * All events up to an id are in these chats, as far as they are in memory.
   * @param {readonly string[]} chat_ids
   * @param {string} event_id
   */
  complete(chat_ids, event_id) {
    for (const chat_id of chat_ids) {
      const before = this.of(chat_id);
      const isCaughtUp = before.phase === "new" && this.isLive(chat_id);
      const caughtUp = isCaughtUp ? { phase: /** @type {"ready"} */ ("ready"), isStored: false } : {};
      const after = laterId(before.after, event_id);
      if (this.isHeld(chat_id)) this.#all.set(chat_id, { ...before, ...caughtUp, after });
    }
    this.changed();
  }

  /** Repeats the loads that failed. @param {string} chat_id @param {() => Promise<void>} open */
  async openAgain(chat_id, open = () => this.open(chat_id)) {
    const { phase, older, newer } = this.of(chat_id);
    if (phase === "failed") await open();
    if (older === "failed") await this.loadOlder(chat_id);
    if (newer === "failed") await this.loadNewer(chat_id);
  }

  /**
   * Reads the missed events of a chat.
   * @param {string} chat_id
   * @returns {Promise<boolean>} false if a page that is on its way may lack some of them
   */
  async #catchUp(chat_id) {
    if (this.of(chat_id).phase === "loading") return false;
    const missed = await this.#fetchChanges(chat_id, this.of(chat_id).after);
    const { phase, older, newer } = this.of(chat_id);
    const isLoading = [phase, older, newer].includes("loading");
    if (missed.too_old) await this.reload(chat_id);
    else this.#add(chat_id, isLoading ? { events: missed.events } : missed);
    return !isLoading;
  }

  /** Applies missed events of a chat. @param {string} chat_id @param {ListChangesResponse} missed */
  #add(chat_id, { events = [], complete_up_to = "0" }) {
    events.forEach(this.onMissed);
    this.complete([chat_id], complete_up_to);
  }

  /**
   * Too much was missed of a chat, or the user may read more of it now: drops its messages. The messages of the open chat
   * are replaced by the newest page, or by the page around the place of its reader.
   * @param {string} chat_id
   */
  async reload(chat_id) {
    this.onDropped(chat_id);
    if (chat_id !== this.openChat) return void this.#all.delete(chat_id);
    const place = this.#isFollowing ? "" : this.#place();
    const page = await this.#read(chat_id, place ? { around_id: place, limit: LONG_PAGE } : {});
    this.#replace(chat_id, place ? pieces.atPage : pieces.atNewest, page);
  }

  /**
   * Replaces the messages of a chat by a page.
   * @param {string} chat_id
   * @param {(piece: Conversation, page: ListMessagesResponse) => Conversation} place
   * @param {ListMessagesResponse} page
   */
  #replace(chat_id, place, page) {
    const before = this.of(chat_id);
    const after = laterId(before.after, page.complete_up_to ?? "0");
    this.#set(chat_id, { ...place(before, page), older: "idle", newer: "idle", after });
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
    for (const longest of this.#all.keys()) {
      if (this.#all.size <= MAX_CHATS) return;
      if (longest !== this.openChat) this.#all.delete(longest);
    }
  }
}
