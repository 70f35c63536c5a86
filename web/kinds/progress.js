// How far the user's own message has come, by the marks of the other members.

import { showsDelivered, showsRead } from "../groups.js";
import { compareIds, isGroup } from "../ids.js";
import { marksOf } from "./marked.js";

/** @import {Chat, Message} from "../types.js" */
/** @import {Member, Span} from "../wire.js" */

/**
 * The progress of the user's own message: delivered, or read, once all others have received, or read it. In a group, the
 * others are the present members of those who were members when it was sent.
 * @param {Pick<Message, "message_id">} message
 * @param {Chat} chat
 * @param {string} me
 * @param {readonly Member[]} members present ones of a group, as far as they are loaded
 * @returns {"sent" | "delivered" | "read"}
 */
export function progress({ message_id }, chat, me, members) {
  const user_ids = isGroup(chat.chat_id) ? recipients(message_id, chat, members) : chat.member_ids;
  const marks = user_ids.flatMap((user_id) => (user_id === me ? [] : marksOf(chat, user_id)));
  const isReached = (/** @type {"delivered_up_to" | "read_up_to"} */ kind) =>
    marks.length > 0 && marks.every((mark) => compareIds(mark[kind], message_id) >= 0);
  if (isReached("read_up_to")) return "read";
  return showsDelivered(chat) && isReached("delivered_up_to") ? "delivered" : "sent";
}

/** @param {string} message_id @param {Chat} chat @param {readonly Member[]} members */
function recipients(message_id, chat, members) {
  if (!showsRead(chat)) return [];
  return members.flatMap(({ user_id, spans = [] }) => (spans.some((span) => isWithin(span, message_id)) ? user_id : []));
}

/** @param {Span} span @param {string} id */
const isWithin = ({ first = "0", last = "0" }, id) =>
  compareIds(first, id) <= 0 && (last === "0" || compareIds(id, last) <= 0);
