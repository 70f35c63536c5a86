// Messages of a chat: conversion from the wire, order and deduplication. Pure functions on immutable values.

import { daysBetween, startOfDay } from "./format.js";
import { texts } from "./languages/language.js";

/** @import {Entry, Marks, Message} from "./types.js" */
/** @import {HistoryMessage, Message as WireMessage, Reaction as WireReaction, ReactionTally} from "./wire.js" */

/** 2026-01-01T00:00:00Z: the epoch of the time in a message_id. */
const EPOCH_MS = 1_767_225_600_000;
/** A pause after which the next message of the same author starts a new group. */
const GROUP_PAUSE_MS = 5 * 60 * 1000;

/** When the message was accepted, in milliseconds since 1970. @param {string} message_id */
export const timeOfId = (message_id) => Number(BigInt(message_id) >> 22n) + EPOCH_MS;

/** The lowest id of a message at or after a time; for a time before 2026, the lowest id. @param {number} at_ms */
export const firstIdAt = (at_ms) => String((BigInt(Math.max(at_ms - EPOCH_MS, 0)) << 22n) || 1n);

/** The id minus 1; the lowest id stays. @param {string} id */
export const idBelow = (id) => (id === "1" ? id : String(BigInt(id) - 1n));

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
 * @param {ReactionTally[]} [reactions]
 * @returns {Message}
 */
export function fromWire(wire, reactions = []) {
  const { message_id, chat_id, sender_id, client_message_id = "" } = wire;
  const key = client_message_id ? `${sender_id}:${client_message_id}` : message_id;
  const body = wire.text?.body ?? texts.message.newerVersion;
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
 * The user's own message that is not acknowledged yet.
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
 * Merges two lists in order, without duplicates. Messages with the same id, or the same sender and client_message_id,
 * are one message: the one with the lowest id stays, and for the same id the incoming value replaces the known one.
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
 * Adds a live message. A message that is already in the list stays as it is.
 * @param {readonly Message[]} known
 * @param {Message} message
 */
export function withLive(known, message) {
  if (known.some((other) => other.key === message.key)) return known;
  const newest = known.at(-1);
  if (!newest || compareIds(newest.message_id, message.message_id) < 0) return [...known, message];
  return merge(known, [message]);
}

/**
 * The message with one user's reaction set or removed; the same object if nothing changes.
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
 * The progress of the user's own message.
 * @param {Message} message
 * @param {Readonly<Record<string, Marks>>} marks
 * @param {string} me
 * @returns {"sent" | "delivered" | "read"}
 */
export function progress(message, marks, me) {
  const others = Object.entries(marks)
    .filter(([user_id]) => user_id !== me)
    .map(([, mark]) => mark);
  const reached = (/** @type {string} */ mark) => compareIds(mark, message.message_id) >= 0;
  if (others.some((mark) => reached(mark.read_up_to))) return "read";
  return others.some((mark) => reached(mark.delivered_up_to)) ? "delivered" : "sent";
}

/**
 * The first message of others above an id; -1 if there is none.
 * @param {readonly Message[]} messages in order
 * @param {string} me
 * @param {string} mark
 */
export function firstUnread(messages, me, mark) {
  let first = -1;
  for (let at = messages.length - 1; at >= 0; at--) {
    const { message_id, sender_id } = /** @type {Message} */ (messages[at]);
    if (message_id && compareIds(message_id, mark) <= 0) break;
    if (message_id && sender_id !== me) first = at;
  }
  return first;
}

/**
 * A message with its place in its group, or the mark above unread messages.
 * @typedef {{kind: "unread", key: string}
 *   | {kind: "message", key: string, message: Message, own: boolean, first: boolean, last: boolean}} Row
 */
/** @typedef {{key: string, at_ms: number, rows: Row[]}} Day the lines of one day, which begins at at_ms */

/**
 * The lines to show for a part of the messages, in order, by day. A group has one author and no long pause.
 * @param {readonly Message[]} messages
 * @param {string} me
 * @param {{start: number, end: number, unreadKey: string}} part unreadKey: the key of the message below the mark; empty
 * for no mark
 * @returns {Day[]}
 */
export function toDays(messages, me, { start, end, unreadKey }) {
  /** @param {number} at */
  const opensGroup = (at) => {
    const [before, message] = [messages[at - 1], messages[at]];
    return !before || !message || message.key === unreadKey || !isOneGroup(before, message);
  };
  /** @type {Day[]} */
  const days = [];
  /** @type {Day | undefined} */
  let day;
  let first = opensGroup(start);
  for (const [place, message] of messages.slice(start, end).entries()) {
    const { key, at_ms } = message;
    const begin_ms = startOfDay(at_ms);
    // If the clock was set back, no earlier day begins.
    if (!day || begin_ms > day.at_ms) days.push((day = { key: `day ${begin_ms}`, at_ms: begin_ms, rows: [] }));
    if (key === unreadKey) day.rows.push({ kind: "unread", key: "unread" });
    const last = opensGroup(start + place + 1);
    day.rows.push({ kind: "message", key, message, own: message.sender_id === me, first, last });
    first = last;
  }
  return days;
}

/** @param {Message} before @param {Message} message */
function isOneGroup(before, message) {
  const isClose = message.sender_id === before.sender_id && message.at_ms - before.at_ms <= GROUP_PAUSE_MS;
  return isClose && daysBetween(before.at_ms, message.at_ms) <= 0;
}
