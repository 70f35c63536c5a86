// The marks of a chat's members, from the chat's state. Reading implies delivery.

import { keyOf } from "../changes.js";
import { compareIds, idBelow, laterId } from "../ids.js";
import { isDeleted } from "./deleted.js";
import { isMentioned } from "./edited.js";

/** @import {ChangeEvent, State} from "../changes.js" */
/** @import {Piece} from "../history.js" */
/** @import {Chat, Marks, Message} from "../types.js" */
/** @import {Mark} from "../wire.js" */

/** Unread messages are counted up to this many. */
export const MAX_UNREAD = 100;

/**
 * A member's marks in history, as the change that set them.
 * @param {string} chat_id
 * @param {Mark} mark
 * @returns {ChangeEvent}
 */
export function fromMark(chat_id, { user_id = "", ...marked }) {
  return { event_id: "0", change: { chat_id, actor_id: user_id, marked } };
}

/** The marks of a member. @param {{changes: State}} chat @param {string} user_id @returns {Marks} */
export function marksOf({ changes }, user_id) {
  const { marked } = changes.get(keyOf(fromMark("", { user_id }).change))?.change ?? {};
  const { delivered_up_to = "0", read_up_to = "0" } = marked ?? {};
  return { delivered_up_to: laterId(delivered_up_to, read_up_to), read_up_to };
}

/**
 * The id up to which the user has read a chat, or need not: messages from before they joined a group are not unread, and
 * none after they have left it.
 * @param {Chat} chat
 * @param {string} user_id of this page
 */
export function readUpTo(chat, user_id) {
  const { first, last = "0" } = chat.group?.own.spans?.at(-1) ?? {};
  const { read_up_to } = marksOf(chat, user_id);
  return first ? laterId(read_up_to, laterId(idBelow(first), last)) : read_up_to;
}

/**
 * Whether a message is unread if it is above the read mark: it is of another user, and no control change but the one by
 * which the user became a member.
 * @param {Message} message that is not deleted
 * @param {Chat} chat
 * @param {string} me
 */
export const mayBeUnread = ({ message_id, sender_id, control }, { group }, me) =>
  sender_id !== me && (!control || message_id === group?.own.spans?.at(-1)?.first);

/**
 * The counts of unread messages and mentions after the user's own mark has moved: the number of loaded messages above the
 * mark, if all of them are loaded, otherwise the count without the loaded messages that were read.
 * @param {Chat} before
 * @param {Chat} after
 * @param {string} me
 * @param {Pick<Piece, "messages" | "hasOlder" | "hasNewer">} loaded the chat's messages
 */
export function unreadAfter(before, after, me, loaded) {
  const mark = readUpTo(after, me);
  if (!after.newest || compareIds(after.newest.message_id, mark) <= 0) return { unread: 0, unread_mentions: 0 };
  const others = loaded.messages.filter((message) => mayBeUnread(message, after, me) && !isDeleted(message));
  const oldest = loaded.messages[0];
  const isWhole = oldest && !loaded.hasNewer && (!loaded.hasOlder || compareIds(oldest.message_id, mark) <= 0);
  const left = (/** @type {number} */ count, /** @type {Message[]} */ messages) => {
    const countAbove = (/** @type {string} */ id) => messages.filter((each) => compareIds(each.message_id, id) > 0).length;
    const above = countAbove(mark);
    if (isWhole) return Math.min(above, MAX_UNREAD);
    if (count === MAX_UNREAD) return MAX_UNREAD; // perhaps more
    return Math.max(count - (countAbove(readUpTo(before, me)) - above), 0);
  };
  const mentioning = others.filter((message) => isMentioned(message, me));
  return { unread: left(before.unread, others), unread_mentions: left(before.unread_mentions, mentioning) };
}
