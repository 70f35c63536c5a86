// The loaded piece of a chat's history, without a hole: usually the newest messages; older messages if the chat opened
// at the first unread message. Its length is bounded. Pure functions on immutable values.

import { compareIds, laterId } from "./ids.js";
import { fromHistory, merge, withChanges, withLive } from "./messages.js";

/** @import {ChangeEvent} from "./changes.js" */
/** @import {Message} from "./types.js" */
/** @import {ListMessagesResponse} from "./wire.js" */

/** The most messages of a chat in memory, and the number that stay when more arrive. */
const MAX_MESSAGES = 2_000;
const KEPT_MESSAGES = 1_500;
/** Messages of a chat that stay in memory after it is closed. */
const KEPT_WHEN_LEFT = 100;
/** Newer messages in memory that do not adjoin the loaded piece. */
const MAX_TAIL = 100;

/**
 * @typedef {object} Piece
 * @property {readonly Message[]} messages in order, without a hole from the oldest to the newest
 * @property {boolean} hasOlder
 * @property {boolean} hasNewer whether newer messages exist, or may exist
 * @property {readonly Message[]} tail known messages after the missing messages, while `hasNewer`
 * @property {string} dropped_id the newest message that was in memory and is neither in `messages` nor in `tail`
 */
/** @type {Piece} */
export const NOTHING = { messages: [], hasOlder: false, hasNewer: true, tail: [], dropped_id: "0" };

/** All messages in memory; some between them may be missing. @param {Piece} piece */
export const known = ({ messages, tail }) => (tail.length ? [...messages, ...tail] : messages);

/**
 * Whether the messages above an id begin in the piece; for an empty id, whether the piece is the newest.
 * @param {Piece} piece
 * @param {string} mark
 */
export function covers({ messages, hasOlder, hasNewer }, mark) {
  const [oldest, newest] = [messages[0], messages.at(-1)];
  if (!mark || !oldest || !newest) return !hasNewer;
  return (
    (!hasOlder || compareIds(oldest.message_id, mark) <= 0) && (!hasNewer || compareIds(newest.message_id, mark) > 0)
  );
}

/**
 * The piece after a message that arrived live, was missed, or was just accepted.
 * @template {Piece} P
 * @param {P} piece
 * @param {Message} message
 * @param {boolean} canCut whether the oldest messages may be dropped, because they are not in view
 * @returns {P} the same piece if nothing changes
 */
export function withMessage(piece, message, canCut) {
  const { messages, hasOlder, hasNewer, tail } = piece;
  const { message_id } = message;
  const [oldest, newest] = [messages[0], messages.at(-1)];
  // A message that is accepted on its retry may be older than the loaded pages: its own page adds it.
  if (hasOlder && oldest && compareIds(message_id, oldest.message_id) < 0) return piece;
  if (hasNewer && compareIds(message_id, newest?.message_id ?? "0") > 0)
    return withTail(piece, withLive(tail, message));
  const all = withLive(messages, message);
  if (all === messages) return piece;
  if (all.length > MAX_MESSAGES && !canCut) {
    const kept = { ...piece, messages: all.slice(0, MAX_MESSAGES) };
    return withTail(kept, [...all.slice(MAX_MESSAGES), ...tail]);
  }
  return cutAbove({ ...piece, messages: all });
}

/** The message with this id, if it is in memory. @param {Piece} piece @param {string} message_id */
export const find = ({ messages, tail }, message_id) => findIn(messages, message_id) ?? findIn(tail, message_id);

/** @param {readonly Message[]} messages in order @param {string} message_id */
function findIn(messages, message_id) {
  let [low, high] = [0, messages.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareIds(/** @type {Message} */ (messages[middle]).message_id, message_id) < 0) low = middle + 1;
    else high = middle;
  }
  return messages[low]?.message_id === message_id ? messages[low] : undefined;
}

/**
 * The piece after a change to a message; the same piece if nothing changes.
 * @template {Piece} P
 * @param {P} piece
 * @param {ChangeEvent} event
 * @returns {P}
 */
export function withChange(piece, event) {
  const message = find(piece, event.change.target_id ?? "0");
  const after = message && withChanges(message, [event]);
  if (!after || after === message) return piece;
  const replaced = (/** @type {readonly Message[]} */ all) => all.map((other) => (other === message ? after : other));
  return { ...piece, messages: replaced(piece.messages), tail: replaced(piece.tail) };
}

/**
 * The piece of the newest page and the known messages that adjoin it; drops the loaded messages.
 * @template {Piece} P
 * @param {P} piece
 * @param {ListMessagesResponse} page
 */
export function atNewest(piece, page) {
  const live = piece.hasNewer ? piece.tail : piece.messages;
  return withNewer({ ...piece, messages: [], tail: live, hasOlder: page.has_older ?? false }, page);
}

/**
 * The piece of a page in the middle of history; drops the loaded messages.
 * @template {Piece} P
 * @param {P} piece
 * @param {ListMessagesResponse} page
 */
export const atPage = (piece, page) =>
  withNewer({ ...detached(piece, []), hasOlder: page.has_older ?? false }, page);

/**
 * Adds the page before the oldest message. If the messages are too many, drops the newest ones.
 * @template {Piece} P
 * @param {P} piece
 * @param {ListMessagesResponse} page
 */
export function withOlder(piece, page) {
  const after = { ...withPage(piece, page), hasOlder: page.has_older ?? false };
  return after.messages.length > MAX_MESSAGES ? detached(after, after.messages.slice(0, KEPT_MESSAGES)) : after;
}

/**
 * Adds the page after the newest message, and the messages of the tail up to its end; all of the tail if the page is
 * the newest: history may lack them yet. If the messages are too many, drops the oldest ones.
 * @template {Piece} P
 * @param {P} piece
 * @param {ListMessagesResponse} page
 */
export function withNewer(piece, page) {
  const { messages, tail, hasOlder, dropped_id, ...after } = withPage(piece, page);
  const [first, last] = [messages[0]?.message_id ?? "0", messages.at(-1)?.message_id ?? "0"];
  const hasNewer = page.has_newer || compareIds(last, dropped_id) < 0;
  const isAfter = (/** @type {Message} */ { message_id }) => hasNewer && compareIds(message_id, last) > 0;
  const isBefore = (/** @type {Message} */ { message_id }) => hasOlder && compareIds(message_id, first) <= 0;
  const adjoining = tail.filter((message) => !isAfter(message) && !isBefore(message));
  const all = adjoining.reduce(withLive, messages);
  return cutAbove({ ...piece, ...after, messages: all, hasNewer, tail: tail.filter(isAfter) });
}

/**
 * The piece after its chat is closed: the newest messages, if they are loaded.
 * @template {Piece} P
 * @param {P} piece
 * @returns {P}
 */
export function left(piece) {
  const { messages, hasNewer, tail, dropped_id } = piece;
  if (hasNewer) return { ...piece, ...NOTHING, tail, dropped_id };
  if (messages.length <= KEPT_WHEN_LEFT) return piece;
  return { ...piece, messages: messages.slice(-KEPT_WHEN_LEFT), hasOlder: true };
}

/** Adds a page that adjoins the loaded messages. @template {Piece} P @param {P} piece @param {ListMessagesResponse} page */
const withPage = (piece, { messages = [] }) => ({
  ...piece,
  messages: merge(piece.messages, messages.map(fromHistory)),
});

/**
 * Keeps only these of the loaded messages; newer messages have to be loaded again. History may lack some of them yet:
 * the newest become the tail.
 * @template {Piece} P
 * @param {P} piece
 * @param {readonly Message[]} messages
 */
function detached(piece, messages) {
  const last_id = messages.at(-1)?.message_id ?? "0";
  const newer = known(piece).filter(({ message_id }) => compareIds(message_id, last_id) > 0);
  return withTail({ ...piece, messages }, newer);
}

/**
 * The piece with the newest of these messages as its tail.
 * @template {Piece} P
 * @param {P} piece
 * @param {readonly Message[]} tail
 * @returns {P}
 */
function withTail(piece, tail) {
  const dropped = tail.at(-MAX_TAIL - 1)?.message_id ?? "0";
  return { ...piece, hasNewer: true, tail: tail.slice(-MAX_TAIL), dropped_id: laterId(piece.dropped_id, dropped) };
}

/** Drops the oldest messages if the messages are too many. @template {Piece} P @param {P} piece @returns {P} */
function cutAbove(piece) {
  const { messages } = piece;
  return messages.length > MAX_MESSAGES
    ? { ...piece, messages: messages.slice(-KEPT_MESSAGES), hasOlder: true }
    : piece;
}
