// The lines of a chat's messages, by day. Pure functions.

import { daysBetween, startOfDay } from "./format.js";

/** @import {Message} from "./types.js" */
/** @import {Control} from "./wire.js" */

/** A pause after which the next message of the same author starts a new run. */
const RUN_PAUSE_MS = 5 * 60 * 1000;

/**
 * A message with its place in its run, a control change of a group, or the mark above unread messages.
 * @typedef {{kind: "unread", key: string}
 *   | {kind: "control", key: string, message: Message, control: Control}
 *   | {kind: "message", key: string, message: Message, own: boolean, first: boolean, last: boolean}} Row
 */
/** @typedef {{key: string, at_ms: number, rows: Row[]}} Day the lines of one day, which begins at at_ms */

/**
 * The lines to show for a part of the messages, in order, by day. A run has one author and no long pause.
 * @param {readonly Message[]} messages
 * @param {string} me
 * @param {{start: number, end: number, unreadKey: string}} part unreadKey: the key of the message below the mark; empty
 * for no mark
 * @returns {Day[]}
 */
export function toDays(messages, me, { start, end, unreadKey }) {
  /** @param {number} at */
  const opensRun = (at) => {
    const [before, message] = [messages[at - 1], messages[at]];
    return !before || !message || message.key === unreadKey || !isOneRun(before, message);
  };
  /** @type {Day[]} */
  const days = [];
  /** @type {Day | undefined} */
  let day;
  let first = opensRun(start);
  for (const [place, message] of messages.slice(start, end).entries()) {
    const { key, at_ms } = message;
    const begin_ms = startOfDay(at_ms);
    // If the clock was set back, no earlier day begins.
    if (!day || begin_ms > day.at_ms) days.push((day = { key: `day ${begin_ms}`, at_ms: begin_ms, rows: [] }));
    if (key === unreadKey) day.rows.push({ kind: "unread", key: "unread" });
    const last = opensRun(start + place + 1);
    if (message.control) day.rows.push({ kind: "control", key, message, control: message.control });
    else day.rows.push({ kind: "message", key, message, own: message.sender_id === me, first, last });
    first = last;
  }
  return days;
}

/** @param {Message} before @param {Message} message */
function isOneRun(before, message) {
  if (before.control || message.control) return false;
  const isClose = message.sender_id === before.sender_id && message.at_ms - before.at_ms <= RUN_PAUSE_MS;
  return isClose && daysBetween(before.at_ms, message.at_ms) <= 0;
}
