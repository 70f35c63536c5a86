// Messages that are not accepted yet. They are kept across reloads and sent in order, one message of a chat at a time,
// again with the same client_message_id until it is accepted or finally refused.

import { refusalText } from "./refusals.js";
import { Kept } from "./stores/kept.js";

/** @import {Entry} from "./types.js" */
/** @import {Refused} from "./wire.js" */

/** Retryable refusals of one message before it is shown as failed. */
const MAX_ATTEMPTS = 6;
const FIRST_PAUSE_MS = 500;

/** In first_sent_ms_ago: so long ago, or not known. */
const MAX_MS_AGO = 2 ** 32 - 1;

/**
 * @typedef {Entry & {sent_ms: number, attempts: number, not_before_ms: number}} Waiting
 * sent_ms is 0 while the message is not in flight
 */

export class Outbox {
  #kept;
  /** @type {Map<string, Waiting>} in the order of writing */
  #entries = new Map();

  /** @param {Kept} kept an entry that can't be read is left there, and not sent */
  constructor(kept) {
    this.#kept = kept;
    const entries = kept.all("outbox").map(([, value]) => value);
    for (const entry of entries.filter(isEntry).sort((a, b) => a.created_ms - b.created_ms)) {
      this.#put({ ...entry, first_sent_ms: entry.first_sent_ms || entry.created_ms }); // it may have been sent at once
    }
  }

  /** The number of messages that are not accepted yet. */
  get size() {
    return this.#entries.size;
  }

  /** @param {string} chat_id @returns {Entry[]} */
  of(chat_id) {
    return [...this.#entries.values()].filter((entry) => entry.chat_id === chat_id);
  }

  /**
   * The last failed message, else the last message, of each chat with messages that are not accepted.
   * @returns {Map<string, Entry>} by chat_id
   */
  byChat() {
    /** @type {Map<string, Entry>} */
    const shown = new Map();
    for (const entry of this.#entries.values()) {
      const isHidden = entry.state !== "failed" && shown.get(entry.chat_id)?.state === "failed";
      if (!isHidden) shown.set(entry.chat_id, entry);
    }
    return shown;
  }

  /** @param {string} client_message_id */
  get(client_message_id) {
    return this.#entries.get(client_message_id);
  }

  /**
   * Returns when the message is kept; only from then on it is sent.
   * @param {string} chat_id
   * @param {string} body
   * @param {number} now_ms
   */
  async add(chat_id, body, now_ms) {
    const client_message_id = newId();
    /** @type {Entry} */
    const entry = { client_message_id, chat_id, body, created_ms: now_ms, first_sent_ms: 0, state: "pending", error: "" };
    await this.#kept.put("outbox", client_message_id, entry);
    this.#put(entry);
  }

  /**
   * The messages to send now: the oldest pending one of each chat that has no message in flight.
   * @param {number} now_ms
   * @returns {{due: Entry[], next_ms: number}} next_ms: when the next delayed message is due; Infinity if none is
   */
  due(now_ms) {
    /** @type {Map<string, Waiting>} */
    const heads = new Map();
    for (const entry of this.#entries.values()) {
      if (entry.state === "pending" && !heads.has(entry.chat_id)) heads.set(entry.chat_id, entry);
    }
    const ready = [...heads.values()].filter((entry) => !entry.sent_ms);
    const later = ready.map((entry) => entry.not_before_ms).filter((at_ms) => at_ms > now_ms);
    return { due: ready.filter((entry) => entry.not_before_ms <= now_ms), next_ms: Math.min(Infinity, ...later) };
  }

  /** @param {string} client_message_id @param {number} now_ms */
  sent(client_message_id, now_ms) {
    const entry = this.#entries.get(client_message_id);
    if (!entry) return;
    entry.sent_ms = now_ms;
    if (entry.first_sent_ms) return;
    entry.first_sent_ms = now_ms;
    this.#keep(entry);
  }

  /** The message's first_sent_ms_ago if it is sent now. @param {string} client_message_id @param {number} now_ms */
  firstSentMsAgo(client_message_id, now_ms) {
    const ago_ms = now_ms - (this.#entries.get(client_message_id)?.first_sent_ms || now_ms);
    return ago_ms < 0 || ago_ms > MAX_MS_AGO ? MAX_MS_AGO : ago_ms; // below 0: the clock was set back
  }

  /** Marks every message as unsent: the session ended, so none in flight will be acknowledged. */
  sessionLost() {
    for (const entry of this.#entries.values()) entry.sent_ms = 0;
  }

  /** Removes a message that is accepted or discarded. @param {string} client_message_id */
  remove(client_message_id) {
    this.#entries.delete(client_message_id);
    void this.#kept.remove("outbox", client_message_id);
  }

  /** @param {string} client_message_id @param {Refused} refused @param {number} now_ms */
  refused(client_message_id, { retryable = false, retry_after_ms = 0, ...refusal }, now_ms) {
    const entry = this.#entries.get(client_message_id);
    if (!entry) return;
    const attempts = entry.attempts + 1;
    const pause_ms = Math.max(retry_after_ms, FIRST_PAUSE_MS * 2 ** entry.attempts);
    if (retryable && attempts < MAX_ATTEMPTS) {
      this.#entries.set(client_message_id, { ...entry, sent_ms: 0, attempts, not_before_ms: now_ms + pause_ms });
    } else {
      this.#change({ ...entry, state: "failed", error: refusalText(refusal) });
    }
  }

  /** Makes a failed message pending again, in its place. @param {string} client_message_id */
  retry(client_message_id) {
    const entry = this.#entries.get(client_message_id);
    if (entry) this.#change({ ...entry, state: "pending", error: "" });
  }

  /** @param {Entry} entry */
  #change(entry) {
    this.#put(entry);
    this.#keep(entry);
  }

  /** @param {Entry} entry */
  #keep({ client_message_id, chat_id, body, created_ms, first_sent_ms, state, error }) {
    const entry = { client_message_id, chat_id, body, created_ms, first_sent_ms, state, error };
    void this.#kept.put("outbox", client_message_id, entry);
  }

  /** @param {Entry} entry */
  #put(entry) {
    this.#entries.set(entry.client_message_id, { ...entry, sent_ms: 0, attempts: 0, not_before_ms: 0 });
  }
}

/**
 * Whether a kept value is a message of the outbox: another version of the page may have kept it.
 * @param {any} value
 * @returns {value is Entry}
 */
function isEntry(value) {
  const texts = [value?.client_message_id, value?.chat_id, value?.body, value?.error];
  const isKnown = value?.state === "pending" || value?.state === "failed";
  return isKnown && Number.isFinite(value.created_ms) && texts.every((text) => typeof text === "string");
}

/** 128 random bits in hexadecimal; `crypto.randomUUID` is missing on pages over plain http. */
function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
