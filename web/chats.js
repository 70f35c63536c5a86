// A chat in the list: its newest message, its unread count and the marks of its members. Pure functions.

import { compareIds, fromWire, laterId } from "./messages.js";

/** @import {Piece} from "./history.js" */
/** @import {Chat, Marks, Message} from "./types.js" */
/** @import {Chat as WireChat, Receipt as WireReceipt} from "./wire.js" */

/** Unread messages are counted up to this many. */
const MAX_UNREAD = 100;
/** @type {Marks} */
const NO_MARKS = { delivered_up_to: "0", read_up_to: "0" };

/** The chat of two users, the same for both. @param {string} user_id @param {string} other_id */
export function directChatId(user_id, other_id) {
  return compareIds(user_id, other_id) < 0 ? `d-${user_id}-${other_id}` : `d-${other_id}-${user_id}`;
}

/**
 * The other member of a direct chat; empty if it is not one of this user's.
 * @param {string} chat_id
 * @param {string} me
 */
export function otherMember(chat_id, me) {
  const [, low = "", high = ""] = /^d-([1-9]\d{0,18})-([1-9]\d{0,18})$/.exec(chat_id) ?? [];
  return low === me ? high : high === me ? low : "";
}

/** A chat without messages. @param {string} chat_id @param {string[]} member_ids @returns {Chat} */
export const emptyChat = (chat_id, member_ids) => ({ chat_id, member_ids, newest: null, unread: 0, marks: {} });

/** @param {WireChat} wire @returns {Chat} */
export function chatFromWire({ chat_id, member_ids = [], newest, unread = 0, receipts = [] }) {
  const chat = { chat_id, member_ids, newest: newest ? fromWire(newest) : null, unread, marks: {} };
  return receipts.reduce(withMarks, chat);
}

/** The marks of a user. @param {Chat} chat @param {string} user_id */
export const marksOf = (chat, user_id) => chat.marks[user_id] ?? NO_MARKS;

/**
 * The chat after a message: a newer message becomes the newest, and counts as unread if another user sent it.
 * @param {Chat} chat
 * @param {Message} message
 * @param {string} me
 * @returns {Chat}
 */
export function withMessage(chat, message, me) {
  const known = chat.newest && compareIds(message.message_id, chat.newest.message_id) <= 0;
  if (known) return chat;
  const unread = message.sender_id === me ? chat.unread : Math.min(chat.unread + 1, MAX_UNREAD);
  return { ...chat, newest: message, unread };
}

/** @param {Chat} chat @param {WireReceipt} receipt @returns {Chat} */
function withMarks(chat, { user_id = "", delivered_up_to = "0", read_up_to = "0" }) {
  const before = marksOf(chat, user_id);
  const after = {
    delivered_up_to: laterId(before.delivered_up_to, laterId(delivered_up_to, read_up_to)),
    read_up_to: laterId(before.read_up_to, read_up_to),
  };
  const same = after.delivered_up_to === before.delivered_up_to && after.read_up_to === before.read_up_to;
  return same ? chat : { ...chat, marks: { ...chat.marks, [user_id]: after } };
}

/**
 * The chat after a receipt; marks only move forward. The user's own receipt also updates the unread count: to the
 * number of loaded messages above the mark, if all of them are loaded, otherwise by the number of those that were read.
 * @param {Chat} chat
 * @param {WireReceipt} receipt
 * @param {string} me
 * @param {Pick<Piece, "messages" | "hasOlder" | "hasNewer">} loaded the chat's messages
 * @returns {Chat}
 */
export function withReceipt(chat, receipt, me, loaded) {
  const after = withMarks(chat, receipt);
  if (receipt.user_id !== me || after === chat) return after;
  const [before, mark] = [marksOf(chat, me).read_up_to, marksOf(after, me).read_up_to];
  if (!after.newest || compareIds(after.newest.message_id, mark) <= 0) return { ...after, unread: 0 };
  const others = loaded.messages.filter((message) => message.sender_id !== me);
  const above = others.filter((message) => compareIds(message.message_id, mark) > 0).length;
  const oldest = loaded.messages[0];
  const isWhole = oldest && !loaded.hasNewer && (!loaded.hasOlder || compareIds(oldest.message_id, mark) <= 0);
  if (isWhole) return { ...after, unread: Math.min(above, MAX_UNREAD) };
  if (after.unread === MAX_UNREAD) return after; // perhaps more
  const fresh = others.filter((message) => compareIds(message.message_id, before) > 0).length - above;
  return { ...after, unread: Math.max(after.unread - fresh, 0) };
}

/** Chats with messages, the most recent first. @param {Iterable<Chat>} chats */
export function inOrder(chats) {
  const id = (/** @type {Chat} */ chat) => chat.newest?.message_id ?? "0";
  return [...chats].filter((chat) => chat.newest).sort((a, b) => compareIds(id(b), id(a)));
}
