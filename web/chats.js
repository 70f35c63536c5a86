// A chat in the list: its newest message, its unread count and its state. Pure functions.

import { fold, UNCHANGED } from "./changes.js";
import { compareIds, isInRange } from "./ids.js";
import { isDeleted } from "./kinds/deleted.js";
import { isMentioned } from "./kinds/edited.js";
import { fromMark, marksOf, MAX_UNREAD, mayBeUnread, readUpTo, unreadAfter } from "./kinds/marked.js";
import { groupFromWire, isFormer, withControl } from "./groups.js";
import { changeIn, fromHistory, withChanges } from "./messages.js";

/** @import {ChangeEvent} from "./changes.js" */
/** @import {Piece} from "./history.js" */
/** @import {Chat, Message} from "./types.js" */
/** @import {Chat as WireChat} from "./wire.js" */

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
  const other = low === me ? high : high === me ? low : "";
  return isInRange(other) ? other : "";
}

/** A chat without messages. @param {string} chat_id @param {string[]} member_ids @returns {Chat} */
export const emptyChat = (chat_id, member_ids) => ({
  chat_id,
  member_ids,
  newest: null,
  newest_sent_id: "0",
  unread: 0,
  unread_mentions: 0,
  changes: UNCHANGED,
  group: null,
  later: [],
});

/** @param {WireChat} wire @returns {Chat} */
export function chatFromWire(wire) {
  const { chat_id, member_ids = [], newest, newest_sent_id = "0", marks = [], changes = [] } = wire;
  const state = fold(UNCHANGED, [...marks.map((mark) => fromMark(chat_id, mark)), ...changes.flatMap(changeIn)]);
  const group = groupFromWire(wire);
  const { unread = 0, unread_mentions = 0 } = wire;
  const shown = { newest: newest ? fromHistory(newest) : null, newest_sent_id, unread, unread_mentions };
  return { chat_id, member_ids, ...shown, changes: state, group, later: [] };
}

/**
 * The chat after a message: a newer message becomes the newest, and counts if it may be unread, unless it is deleted, or
 * the user's mark, which may arrive first, is at it or above. The newest message itself may have further changes. A control
 * change also changes the state of the group; nothing is unread for a user who is no member any more.
 * @param {Chat} before
 * @param {Message} message
 * @param {string} me
 * @returns {Chat}
 */
export function withMessage(before, message, me) {
  const { control, message_id } = message;
  const isSentLast = !control && compareIds(message_id, before.newest_sent_id) > 0;
  const sent = isSentLast ? { ...before, newest_sent_id: message_id } : before;
  const after = control ? withControl(sent, control, me) : sent;
  const chat = isFormer(after) ? { ...after, unread: 0, unread_mentions: 0 } : after;
  const order = chat.newest ? compareIds(message_id, chat.newest.message_id) : 1;
  if (order < 0) return chat;
  if (order === 0) return withNewestChanged(chat, message.changes.values());
  if (!isNew(message, chat, me) || isDeleted(message)) return { ...chat, newest: message };
  const unread = Math.min(chat.unread + 1, MAX_UNREAD);
  return { ...withMentions(chat, isMentioned(message, me) ? 1 : 0), newest: message, unread };
}

/**
 * Whether a message may be unread, and is above the user's mark.
 * @param {Message} message
 * @param {Chat} chat
 * @param {string} me
 */
export const isNew = (message, chat, me) =>
  mayBeUnread(message, chat, me) && compareIds(message.message_id, readUpTo(chat, me)) > 0;

/** The chat with more or fewer unread mentions. @param {Chat} chat @param {number} more @returns {Chat} */
const withMentions = (chat, more) => ({
  ...chat,
  unread_mentions: Math.min(Math.max(chat.unread_mentions + more, 0), MAX_UNREAD),
});

/**
 * The chat after a change to one of its messages, such as an edit, by which another user may mention this one, or not any
 * more; the same object if nothing changes.
 * @param {Chat} chat
 * @param {Message} message before the change
 * @param {ChangeEvent} event
 * @param {string} me
 */
export function withMentionChanged(chat, message, event, me) {
  const more = Number(isMentioned(withChanges(message, [event]), me)) - Number(isMentioned(message, me));
  return more && isNew(message, chat, me) ? withMentions(chat, more) : chat;
}

/**
 * The chat after changes to its newest message; the same object if nothing changes.
 * @param {Chat} chat
 * @param {Iterable<ChangeEvent>} events
 * @returns {Chat}
 */
export function withNewestChanged(chat, events) {
  const newest = chat.newest && withChanges(chat.newest, events);
  return newest === chat.newest ? chat : { ...chat, newest };
}

/**
 * The chat after changes to it; the same object if nothing changes. The user's own marks also update the unread count.
 * @param {Chat} chat
 * @param {Iterable<ChangeEvent>} events
 * @param {string} me
 * @param {Pick<Piece, "messages" | "hasOlder" | "hasNewer">} loaded the chat's messages
 * @returns {Chat}
 */
export function withChatChanges(chat, events, me, loaded) {
  const changes = fold(chat.changes, events);
  if (changes === chat.changes) return chat;
  const after = { ...chat, changes };
  const isMarked = marksOf(chat, me).read_up_to !== marksOf(after, me).read_up_to;
  return isMarked ? { ...after, ...unreadAfter(chat, after, me, loaded) } : after;
}

/** Chats with messages, the most recent first. @param {Iterable<Chat>} chats */
export function inOrder(chats) {
  const id = (/** @type {Chat} */ chat) => chat.newest?.message_id ?? "0";
  return [...chats].filter((chat) => chat.newest).sort((a, b) => compareIds(id(b), id(a)));
}
