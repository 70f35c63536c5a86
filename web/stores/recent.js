// Copies of the newest chats in this browser, with the messages that were read last, so that the page opens with them
// before the server answers, or without a connection. They are deleted when the sign-in ends.

import { textOf } from "../kinds/edited.js";
import { Chats } from "./chats.js";

/** @import {Chat, Message, Profile} from "../types.js" */

/** Chats that are copied: the newest ones. */
const MAX_CHATS = 50;
/** The limits of a copied chat: the number of its last messages, and of their characters. */
const MAX_MESSAGES = 50;
const MAX_CHARACTERS = 100_000;
/** The time from the first change until all changes are written. */
const PAUSE_MS = 2_000;
/** The page waits for the copies at most this long. */
const READ_DEADLINE_MS = 1_000;

/** Of a chat whose newest messages are not loaded. @type {readonly Message[]} */
const NONE = [];

/**
 * A chat and its newest messages.
 * @typedef {object} Copy
 * @property {Chat} chat
 * @property {string} listed_up_to an event id: all events up to it are in the chat. 0: not known
 * @property {readonly Message[]} messages
 * @property {boolean} hasOlder whether older messages exist
 * @property {string} after an event id: all events up to it are in the messages. 0: not known
 * @property {readonly Profile[]} profiles of the other member; in a group, of the authors of the messages
 */
/**
 * One user's copies in a database, by chat_id.
 * @typedef {object} Copies
 * @property {() => Promise<[chat_id: string, copy: unknown][]>} read
 * @property {(changed: Map<string, Copy | null>) => Promise<void>} write null removes a copy
 * @property {() => Promise<void>} clear
 */

export class Recent {
  #chats;
  #opening;
  #isSignedIn;
  /** The copies in the database. @type {Map<string, Copy>} */
  #copies = new Map();
  /** The loaded messages from which each copy was made. @type {WeakMap<Copy, readonly Message[]>} */
  #sources = new WeakMap();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #isStopped = false;

  /**
   * @param {Chats} chats
   * @param {Promise<Copies>} opening without a database no chat is copied
   * @param {() => boolean} isSignedIn whether the user of these chats is signed in; another tab may sign out
   */
  constructor(chats, opening, isSignedIn) {
    this.#chats = chats;
    this.#opening = opening.catch(() => null);
    this.#isSignedIn = isSignedIn;
  }

  /** Shows the copied chats, as far as they can be read, and copies all changes from then on. */
  async start() {
    const late = new Promise((resolve) => setTimeout(() => resolve([]), READ_DEADLINE_MS));
    const rows = await Promise.race([this.#read(), late]);
    for (const [chat_id, copy] of rows) if (isCopy(copy)) this.#copies.set(chat_id, copy);
    this.#chats.restore([...this.#copies.values()]);
    this.#chats.subscribe(() => {
      this.#timer ??= setTimeout(() => void this.save(), PAUSE_MS);
    });
  }

  /** Copies the changes now. Call it when the page is about to close. */
  async save() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#isStopped || !this.#isSignedIn()) return;
    const changed = this.#changes();
    if (changed.size) await this.#use((copies) => copies.write(changed));
  }

  /** The sign-in has ended: deletes all copies. */
  async stop() {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    await this.#use((copies) => copies.clear());
  }

  /** @returns {Promise<[string, unknown][]>} */
  async #read() {
    return (await this.#use((copies) => copies.read())) ?? [];
  }

  /** @returns {Map<string, Copy | null>} */
  #changes() {
    const { all, listed_up_to, conversations } = this.#chats;
    /** @type {Map<string, Copy | null>} */
    const changed = new Map();
    const newest = all.slice(0, MAX_CHATS);
    for (const chat of newest) {
      const { chat_id } = chat;
      const before = this.#copies.get(chat_id);
      const piece = conversations.of(chat_id);
      const isLoaded = conversations.isHeld(chat_id) && !piece.hasNewer;
      const source = isLoaded ? piece.messages : NONE;
      const after = isLoaded ? piece.after : "0";
      const isSame = before?.chat === chat && before.listed_up_to === listed_up_to && before.after === after;
      if (isSame && this.#sources.get(before) === source && areSame(before.profiles, this.#profiles(before))) continue;
      const messages = isLoaded ? lastOf(source) : [chat.newest].flatMap((message) => message ?? []);
      const profiles = this.#profiles({ chat, messages });
      const hasOlder = !isLoaded || piece.hasOlder || messages.length < source.length;
      const copy = { chat, listed_up_to, messages, hasOlder, after, profiles };
      this.#sources.set(copy, source);
      changed.set(chat_id, copy);
    }
    const ids = new Set(newest.map(({ chat_id }) => chat_id));
    for (const chat_id of this.#copies.keys()) if (!ids.has(chat_id)) changed.set(chat_id, null);
    for (const [chat_id, copy] of changed) {
      if (copy) this.#copies.set(chat_id, copy);
      else this.#copies.delete(chat_id);
    }
    return changed;
  }

  /** The loaded profiles with which a chat is shown. @param {Pick<Copy, "chat" | "messages">} copy */
  #profiles({ chat, messages }) {
    const other = this.#chats.otherOf(chat.chat_id);
    const ids = other ? [other] : [...new Set(messages.map(({ sender_id }) => sender_id))];
    return ids.flatMap((user_id) => this.#chats.profiles.cached(user_id) ?? []);
  }

  /**
   * Uses the database. Without a database, and if it fails, returns undefined: the server has all data.
   * @template Result
   * @param {(copies: Copies) => Promise<Result>} use
   */
  async #use(use) {
    try {
      const copies = await this.#opening;
      return copies ? await use(copies) : undefined;
    } catch {
      return undefined;
    }
  }
}

/** The last messages, within the limits. @param {readonly Message[]} messages */
function lastOf(messages) {
  const last = messages.slice(-MAX_MESSAGES);
  let characters = 0;
  const first = last.findLastIndex((message) => (characters += textOf(message).length) > MAX_CHARACTERS) + 1;
  return last.slice(first);
}

/** @param {readonly Profile[]} some @param {readonly Profile[]} others */
const areSame = (some, others) => some.length === others.length && some.every((one, at) => one === others[at]);

/**
 * Whether a value is a copy: another version of the page may have written it.
 * @param {any} value
 * @returns {value is Copy}
 */
function isCopy(value) {
  const { chat, listed_up_to, messages, hasOlder, after, profiles } = value ?? {};
  const isChat = typeof chat?.chat_id === "string" && Array.isArray(chat.member_ids) && isMessage(chat.newest);
  const areCounts = [chat?.unread, chat?.unread_mentions].every((count) => typeof count === "number");
  const isKnown = areCounts && typeof chat.newest_sent_id === "string" && isState(chat?.changes) && Array.isArray(chat?.later);
  const isProfile = (/** @type {any} */ profile) => typeof profile?.display_name === "string";
  const areProfiles = Array.isArray(profiles) && profiles.every(isProfile);
  const isPiece = typeof hasOlder === "boolean" && Array.isArray(messages) && messages.every(isMessage);
  return isChat && isKnown && areProfiles && isPiece && typeof listed_up_to === "string" && typeof after === "string";
}

/** @param {any} value */
function isMessage(value) {
  const texts = [value?.key, value?.message_id, value?.sender_id, value?.body, value?.reply_to];
  return texts.every((text) => typeof text === "string") && [value.mentions, value.files].every(Array.isArray) && isState(value.changes);
}

/** @param {any} value */
const isState = (value) => value instanceof Map;
