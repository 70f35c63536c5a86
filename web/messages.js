// What a chat's messages are and how they are put in order, without duplicates. Pure functions on values that never
// change.

import { daysBetween } from "./format.js";

/** @import {Entry, HistoryMessage, Marks, Message, Tally, WireMessage, WireReaction} from "./types.js" */

/** 2026-01-01T00:00:00Z: where the time in a message_id counts from. */
const EPOCH_MS = 1_767_225_600_000;
/** A pause after which the same author's next message stands apart. */
const GROUP_PAUSE_MS = 5 * 60 * 1000;

/** When the message was accepted, in milliseconds since 1970. @param {string} message_id */
export const timeOfId = (message_id) => Number(BigInt(message_id) >> 22n) + EPOCH_MS;

/**
 * Below 0, 0 or above 0 as the first id is lower, the same or higher. Ids are decimal digits.
 * @param {string} a
 * @param {string} b
 */
export function compareIds(a, b) {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

/** The higher of two ids. @param {string} a @param {string} b */
export const laterId = (a, b) => (compareIds(a, b) < 0 ? b : a);

/**
 * @param {WireMessage} wire
 * @param {Tally[]} [reactions]
 * @returns {Message}
 */
export function fromWire(wire, reactions = []) {
  const { message_id, chat_id, sender_id, client_message_id = "" } = wire;
  const key = client_message_id ? `${sender_id}:${client_message_id}` : message_id;
  const body = wire.text?.body ?? "This message needs a newer version of the page.";
  const at_ms = timeOfId(message_id);
  return {
    key,
    message_id,
    chat_id,
    sender_id,
    client_message_id,
    body,
    at_ms,
    reactions,
    state: "accepted",
    error: "",
  };
}

/** @param {HistoryMessage} item */
export const fromHistory = (item) => fromWire(item.message, item.reactions ?? []);

/**
 * A message of one's own that is still on its way.
 * @param {Entry} entry
 * @param {string} me the user's id
 * @returns {Message}
 */
export function fromEntry({ client_message_id, chat_id, body, created_ms, state, error }, me) {
  const key = `${me}:${client_message_id}`;
  return {
    key,
    message_id: "",
    chat_id,
    sender_id: me,
    client_message_id,
    body,
    at_ms: created_ms,
    reactions: [],
    state,
    error,
  };
}

/**
 * The messages of both lists in order, each once. Duplicates are those of the same id, and those of the same sender
 * and client_message_id: the first accepted stays, and of the same one what the incoming list says of it.
 * @param {readonly Message[]} known in order
 * @param {readonly Message[]} incoming in any order
 * @returns {Message[]}
 */
export function merge(known, incoming) {
  const byKey = new Map(known.map((message) => [message.key, message]));
  for (const message of incoming) {
    const other = byKey.get(message.key);
    if (!other || compareIds(message.message_id, other.message_id) <= 0) byKey.set(message.key, message);
  }
  return [...byKey.values()].sort((a, b) => compareIds(a.message_id, b.message_id));
}

/**
 * The messages with one that came live. What is known of it already stays.
 * @param {readonly Message[]} known
 * @param {Message} message
 */
export function withLive(known, message) {
  return known.some((other) => other.key === message.key) ? known : merge(known, [message]);
}

/**
 * The message with one user's reaction set or taken back; the same object if that changes nothing.
 * @param {Message} message
 * @param {Pick<WireReaction, "user_id" | "emoji" | "set">} reaction
 * @returns {Message}
 */
export function withReaction(message, { user_id, emoji, set = false }) {
  const tally = message.reactions.find((other) => other.emoji === emoji);
  if (set === (tally?.user_ids.includes(user_id) ?? false)) return message;
  const others = tally?.user_ids.filter((id) => id !== user_id) ?? [];
  const changed = { emoji, user_ids: set ? [...others, user_id] : others };
  const reactions = tally
    ? message.reactions.map((other) => (other === tally ? changed : other))
    : [...message.reactions, changed];
  return { ...message, reactions: reactions.filter((other) => other.user_ids.length > 0) };
}

/**
 * How far a message of one's own has come.
 * @param {Message} message
 * @param {Readonly<Record<string, Marks>>} marks
 * @param {string} me
 * @returns {"Sent" | "Delivered" | "Read"}
 */
export function progress(message, marks, me) {
  const others = Object.entries(marks)
    .filter(([user_id]) => user_id !== me)
    .map(([, mark]) => mark);
  const reached = (/** @type {string} */ mark) => compareIds(mark, message.message_id) >= 0;
  if (others.some((mark) => reached(mark.read_up_to))) return "Read";
  return others.some((mark) => reached(mark.delivered_up_to)) ? "Delivered" : "Sent";
}

/**
 * A line of the page: a day, the mark above what is new, or a message with how it stands to its neighbours.
 * @typedef {{kind: "day", key: string, at_ms: number} | {kind: "unread", key: string}
 *   | {kind: "message", key: string, message: Message, own: boolean, first: boolean, newest: boolean}} Row
 */

/**
 * What is shown for messages in order. `first` opens a group of one author; `newest` is the last of one's own in its
 * state.
 * @param {readonly Message[]} messages
 * @param {string} me
 * @param {string} unreadAbove the id above which others' messages were unread when the chat was opened; empty for no
 * mark
 * @returns {Row[]}
 */
export function toRows(messages, me, unreadAbove) {
  /** @type {Row[]} */
  const rows = [];
  const newestOwn = newestOfEachState(messages, me);
  let marked = unreadAbove === "";
  /** @type {Message | undefined} */
  let previous;
  for (const message of messages) {
    const own = message.sender_id === me;
    const newDay = !previous || daysBetween(previous.at_ms, message.at_ms) > 0;
    if (newDay) rows.push({ kind: "day", key: `day ${new Date(message.at_ms).toDateString()}`, at_ms: message.at_ms });
    const unread = !marked && !own && compareIds(message.message_id, unreadAbove) > 0;
    if (unread) rows.push({ kind: "unread", key: "unread" });
    marked ||= unread;
    const apart = message.sender_id !== previous?.sender_id || message.at_ms - previous.at_ms > GROUP_PAUSE_MS;
    rows.push({
      kind: "message",
      key: message.key,
      message,
      own,
      first: newDay || unread || apart,
      newest: newestOwn.has(message),
    });
    previous = message;
  }
  return rows;
}

/** @param {readonly Message[]} messages @param {string} me */
function newestOfEachState(messages, me) {
  const newest = new Map(
    messages.filter((message) => message.sender_id === me).map((message) => [message.state, message]),
  );
  return new Set(newest.values());
}
