// Messages or changes that are not accepted yet. They are kept across reloads and sent in order, one of a chat at a
// time, again with the same client id until they are accepted or finally refused. All tabs of a browser have them; the
// tab in which an entry was written sends it, and another one only if that tab is gone.

import { Kept } from "./stores/kept.js";

/** @import {Kind} from "./stores/kept.js" */
/** @import {Channel} from "./tabs.js" */
/** @import {Queued} from "./types.js" */
/** @import {Refused} from "./wire.js" */

/** Retryable refusals of one entry before the refusal counts as final. */
const MAX_ATTEMPTS = 6;
const FIRST_PAUSE_MS = 500;
/** In first_sent_ms_ago: so long ago, or not known. */
const MAX_MS_AGO = 2 ** 32 - 1;

/** A tab announces again, after this many ms, the entries that it sends. */
const RENEWED_MS = 3_000;
/** After this time without it, the others send them, too. */
const RESERVED_MS = 8_000;
/** Removed entries that are remembered; notes cross a removal by milliseconds. */
const MAX_REMOVED = 1_000;

const UNSENT = { isSent: false, attempts: 0, not_before_ms: 0 };

/**
 * A note from a tab to the others: an entry as it is now, and whether it was written in that tab; or the id of an entry
 * that is accepted, as this event, or discarded.
 * @typedef {{entry: unknown, isOwn: boolean} | {removed: string, event_id: string}} Note
 */

/** @template {Queued} E */
export class Queue {
  /**
   * Called with an entry that the server has accepted, from this tab or another one.
   * @param {E} _entry
   * @param {string} _event_id
   */
  onAccepted = (_entry, _event_id) => {};
  /** Called after a note of another tab. */
  onFollowed = () => {};
  #kept;
  #kind;
  #isEntry;
  /** @type {Channel | null} */
  #channel = null;
  /** In the order of writing. @type {Map<string, E>} */
  #entries = new Map();
  /** How far the sending of an entry is, by client_id. @type {Map<string, typeof UNSENT>} */
  #sendings = new Map();
  /** The client_ids of the entries that were written in this tab. @type {Set<string>} */
  #own = new Set();
  /** Until when another tab sends an entry, in milliseconds since 1970, by client_id. @type {Map<string, number>} */
  #reserved = new Map();
  /** The client_ids of removed entries: a note that crosses the removal does not bring them back. @type {Set<string>} */
  #removed = new Set();

  /**
   * @param {Kept} kept
   * @param {Kind} kind of its kept values
   * @param {(value: any) => value is E} isEntry whether a kept value, with its id as client_id, is an entry: another
   * version of the page may have kept it. Other values are left there.
   */
  constructor(kept, kind, isEntry) {
    this.#kept = kept;
    this.#kind = kind;
    this.#isEntry = isEntry;
    const values = kept.all(kind).map(([client_id, value]) => ({ .../** @type {object} */ (value), client_id }));
    for (const entry of values.filter(isEntry).sort((a, b) => a.created_ms - b.created_ms)) {
      const first_sent_ms = entry.first_sent_ms || entry.created_ms; // it may have been sent at once
      this.#entries.set(entry.client_id, { ...entry, first_sent_ms });
    }
  }

  get size() {
    return this.#entries.size;
  }

  /** In the order of writing. @returns {readonly E[]} */
  get all() {
    return [...this.#entries.values()];
  }

  /** @param {string} chat_id */
  of(chat_id) {
    return this.all.filter((entry) => entry.chat_id === chat_id);
  }

  /** @param {string} client_id */
  get(client_id) {
    return this.#entries.get(client_id);
  }

  /** Sends changes to the other tabs of this user, and follows theirs. @param {Channel} channel @param {AbortSignal} end */
  share(channel, end) {
    this.#channel = channel;
    channel.onmessage = ({ data }) => this.#receive(data);
    const renewing = setInterval(() => {
      for (const entry of this.all) if (this.#own.has(entry.client_id)) this.#announce(entry);
    }, RENEWED_MS);
    end.addEventListener("abort", () => {
      clearInterval(renewing);
      this.#channel = null;
      channel.close();
    });
  }

  /** Whether another tab sends an entry. @param {string} client_id @param {number} now_ms */
  isReserved(client_id, now_ms) {
    return (this.#reserved.get(client_id) ?? 0) > now_ms;
  }

  /** Adds an entry at the end, or replaces it in its place. @param {E} entry */
  put(entry) {
    const { client_id } = entry;
    if (!this.#entries.has(client_id)) this.#own.add(client_id);
    this.#reserved.delete(client_id);
    this.#entries.set(client_id, entry);
    this.#announce(entry);
  }

  /** Returns when the entry is kept. @param {E} entry */
  async keep(entry) {
    await this.#kept.put(this.#kind, entry.client_id, entry);
  }

  /** Replaces an entry. @param {E} entry */
  change(entry) {
    this.put(entry);
    void this.keep(entry);
  }

  /** Removes an entry that is accepted, as an event, or discarded. @param {string} client_id @param {string} [event_id] */
  remove(client_id, event_id = "") {
    this.#remove(client_id, event_id);
    this.#post({ removed: client_id, event_id });
  }

  /** @param {string} client_id @param {string} event_id empty if it is discarded */
  #remove(client_id, event_id) {
    const entry = this.#entries.get(client_id);
    this.#removed.add(client_id);
    const [oldest = ""] = this.#removed;
    if (this.#removed.size > MAX_REMOVED) this.#removed.delete(oldest);
    for (const each of [this.#entries, this.#sendings, this.#own, this.#reserved]) each.delete(client_id);
    void this.#kept.remove(this.#kind, client_id); // in each tab: a write of this one may be under way
    if (entry && event_id) this.onAccepted(entry, event_id);
  }

  /** @param {any} note of another tab, in which another version of the page may run */
  #receive({ entry, isOwn, removed, event_id }) {
    if (removed) this.#remove(removed, event_id);
    else if (this.#isEntry(entry) && !this.#removed.has(entry.client_id)) this.#follow(entry, isOwn);
    this.onFollowed();
  }

  /** @param {E} entry as another tab has it @param {boolean} isOwn whether it was written there */
  #follow(entry, isOwn) {
    const { client_id } = entry;
    const isNew = !this.#entries.has(client_id);
    this.#entries.set(client_id, entry);
    if (isNew) this.#entries = new Map([...this.#entries].sort(([, a], [, b]) => a.created_ms - b.created_ms));
    if (isOwn) this.#reserved.set(client_id, Date.now() + RESERVED_MS);
    if (entry.state === "failed") this.#sendings.delete(client_id);
    this.#kept.follow(this.#kind, client_id, entry);
  }

  /** @param {E} entry */
  #announce(entry) {
    this.#post({ entry, isOwn: this.#own.has(entry.client_id) });
  }

  /** @param {Note} note */
  #post(note) {
    this.#channel?.postMessage(note);
  }

  /**
   * The entries to send now: the oldest pending entry of each chat without an entry in flight.
   * @param {number} now_ms
   * @returns {{due: E[], next_ms: number}} next_ms: when the next delayed entry is due; Infinity if none is
   */
  due(now_ms) {
    /** @type {Map<string, E>} */
    const heads = new Map();
    for (const entry of this.#entries.values()) {
      if (entry.state === "pending" && !heads.has(entry.chat_id)) heads.set(entry.chat_id, entry);
    }
    const isDue = (/** @type {E} */ entry) =>
      !this.#sending(entry.client_id).isSent && (this.isReady(entry) || this.isReserved(entry.client_id, now_ms));
    const ready = [...heads.values()].filter(isDue);
    const dueAt = (/** @type {E} */ { client_id }) =>
      Math.max(this.#sending(client_id).not_before_ms, this.#reserved.get(client_id) ?? 0);
    const later = ready.map(dueAt).filter((at_ms) => at_ms > now_ms);
    return { due: ready.filter((entry) => dueAt(entry) <= now_ms), next_ms: Math.min(Infinity, ...later) };
  }

  /** Whether an entry can be sent; the entries of its chat after it wait, too. @param {E} _entry */
  isReady(_entry) {
    return true;
  }

  /** @param {string} client_id @param {number} now_ms */
  sent(client_id, now_ms) {
    const entry = this.#entries.get(client_id);
    if (!entry) return;
    this.#sendings.set(client_id, { ...this.#sending(client_id), isSent: true });
    if (!entry.first_sent_ms) this.change({ ...entry, first_sent_ms: now_ms });
  }

  /** The entry's first_sent_ms_ago if it is sent now. @param {string} client_id @param {number} now_ms */
  firstSentMsAgo(client_id, now_ms) {
    const ago_ms = now_ms - (this.#entries.get(client_id)?.first_sent_ms || now_ms);
    return ago_ms < 0 || ago_ms > MAX_MS_AGO ? MAX_MS_AGO : ago_ms; // below 0: the clock was set back
  }

  /** Marks every entry as unsent: the session ended, so none in flight will be answered. */
  sessionLost() {
    for (const [client_id, sending] of this.#sendings) this.#sendings.set(client_id, { ...sending, isSent: false });
  }

  /**
   * Plans to send a refused entry again after a pause, if the refusal permits it.
   * @param {string} client_id
   * @param {Pick<Refused, "retryable" | "retry_after_ms">} refused
   * @param {number} now_ms
   * @returns {boolean} whether the refusal is final
   */
  refused(client_id, { retryable = false, retry_after_ms = 0 }, now_ms) {
    const before = this.#sending(client_id);
    const attempts = before.attempts + 1;
    const pause_ms = Math.max(retry_after_ms, FIRST_PAUSE_MS * 2 ** before.attempts);
    const isFinal = !retryable || attempts >= MAX_ATTEMPTS;
    if (isFinal) this.#sendings.delete(client_id);
    else this.#sendings.set(client_id, { isSent: false, attempts, not_before_ms: now_ms + pause_ms });
    return isFinal;
  }

  /** Replaces a refused entry by another form of it, which is sent at once. @param {E} entry */
  repair(entry) {
    this.#sendings.delete(entry.client_id);
    this.change(entry);
  }

  /** @param {string} client_id */
  #sending(client_id) {
    return this.#sendings.get(client_id) ?? UNSENT;
  }
}

/** The fields of a new entry. @param {string} chat_id @param {number} now_ms @returns {Queued} */
export const newEntry = (chat_id, now_ms) => ({
  client_id: newId(),
  chat_id,
  created_ms: now_ms,
  first_sent_ms: 0,
  state: "pending",
});

/** Whether a kept value has the fields of every entry. @param {any} value */
export function isQueued(value) {
  const isKnown = value?.state === "pending" || value?.state === "failed";
  return isKnown && Number.isFinite(value.created_ms) && typeof value.chat_id === "string";
}

/** 128 random bits in hexadecimal; `crypto.randomUUID` is missing on pages over plain http. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
