// A user's own settings of a chat, from the chat's state: whether it is muted, pinned to the top of the list, archived, and
// without previews of the user's links. Only the user's own devices receive the changes.

import { compareIds, laterId } from "../ids.js";
import { isMentioned } from "./edited.js";

/** @import {ChangeEvent, State} from "../changes.js" */
/** @import {Chat, Message} from "../types.js" */
/** @import {Muted} from "../wire.js" */

/** The end of a mute that does not end: the highest value of the field. */
export const FOR_EVER = "9223372036854775807";
/** Chats at the top of the list, at most. Further pinned chats are in their place by time. */
export const MAX_PINNED = 50;

/** @typedef {"muted" | "chat_pinned" | "archived" | "without_previews"} OwnKind */
/**
 * @typedef {object} Own
 * @property {Muted | null} mute
 * @property {boolean} isMuted
 * @property {boolean} isQuiet whether the chat is muted, and has no unread mention for which the mute has an exception
 * @property {boolean} isPinned
 * @property {boolean} isArchived
 * @property {boolean} isWithoutPreviews
 */

/**
 * The settings at a time. A message after the archiving brings the chat back to the list, unless the chat is quiet; a
 * control change does not, except one by which the user joined or left.
 * @param {Pick<Chat, "changes" | "group" | "newest_sent_id" | "unread_mentions">} chat
 * @param {string} user_id
 * @param {number} now_ms
 * @returns {Own}
 */
export function ownSettings(chat, user_id, now_ms) {
  const mute = muteAt(chat, user_id, now_ms);
  const isQuiet = mute !== null && !(mute.except_mentions && chat.unread_mentions > 0);
  const archived = newestOwn(chat, "archived", user_id);
  const { first = "0", last = "0" } = chat.group?.own.spans?.at(-1) ?? {};
  const isBack = archived && compareIds(laterId(chat.newest_sent_id, laterId(first, last)), archived.event_id) > 0;
  return {
    mute,
    isMuted: mute !== null,
    isQuiet,
    isPinned: newestOwn(chat, "chat_pinned", user_id)?.change.chat_pinned?.set === true,
    isArchived: archived?.change.archived?.set === true && (isQuiet || !isBack),
    isWithoutPreviews: newestOwn(chat, "without_previews", user_id)?.change.without_previews?.set === true,
  };
}

/**
 * Whether the title and the icon of the page count a chat.
 * @param {Pick<Own, "isQuiet" | "isArchived">} own
 * @param {boolean} isUnread whether the chat has unread messages, or is marked as unread
 */
export const isCounted = ({ isQuiet, isArchived }, isUnread) => isUnread && !isQuiet && !isArchived;

/**
 * Whether the user's devices do not notify of a message.
 * @param {{changes: State}} chat
 * @param {Message} message
 * @param {string} user_id
 * @param {number} now_ms
 */
export function isSilent(chat, message, user_id, now_ms) {
  const mute = muteAt(chat, user_id, now_ms);
  return mute !== null && !(mute.except_mentions && isMentioned(message, user_id));
}

/**
 * The chats with the pinned ones first, otherwise in the same order.
 * @param {readonly Chat[]} chats the most recent first
 * @param {(chat: Chat) => boolean} isPinned
 */
export function pinnedFirst(chats, isPinned) {
  const pinned = new Set(chats.filter(isPinned).slice(0, MAX_PINNED));
  return [...pinned, ...chats.filter((chat) => !pinned.has(chat))];
}

/** @param {{changes: State}} chat @param {string} user_id @param {number} now_ms */
function muteAt(chat, user_id, now_ms) {
  const mute = newestOwn(chat, "muted", user_id)?.change.muted;
  return mute && Number(mute.until_ms ?? 0) > now_ms ? mute : null;
}

/**
 * @param {{changes: State}} chat
 * @param {OwnKind} kind
 * @param {string} user_id
 * @returns {ChangeEvent | undefined}
 */
function newestOwn({ changes }, kind, user_id) {
  for (const event of changes.values())
    if (event.change[kind] && event.change.actor_id === user_id) return event;
  return undefined;
}
