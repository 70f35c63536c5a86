// The part of a chat's messages that is on the page: a window over the loaded messages, which moves with the view.

import { compareIds } from "./ids.js";
import { isHidden } from "./kinds/hidden.js";
import { mayBeUnread } from "./kinds/marked.js";

/** @import {Chat, Message} from "./types.js" */

/** Messages on the page. When there are more, those farthest from the view leave it. */
export const MAX_ROWS = 200;
/** Messages on the page of a chat that was just opened, and by how many they grow. */
const STEP = 50;
/**
 * While the view is at the end, the page may show this many messages more than enough. With more, it drops the oldest
 * ones at once, since the cost of a new message rises with the number of messages on the page.
 */
const SPARE_ROWS = 30;

/**
 * The first message above an id that may be unread; -1 if there is none.
 * @param {readonly Message[]} messages of the chat, in order
 * @param {Chat} chat
 * @param {string} me
 * @param {string} mark
 */
export function firstUnread(messages, chat, me, mark) {
  let first = -1;
  for (let at = messages.length - 1; at >= 0; at--) {
    const message = /** @type {Message} */ (messages[at]);
    if (message.message_id && compareIds(message.message_id, mark) <= 0) break;
    if (message.message_id && mayBeUnread(message, chat, me)) first = at;
  }
  return first;
}

/**
 * The id up to which the user has read the chat after they have read it up to an id: that of the last hidden message
 * before the next one that may be unread and is shown, since the server counts hidden messages; else the same id.
 * @param {readonly Message[]} loaded messages of the chat as the user sees them, hidden ones too, in order
 * @param {Chat} chat
 * @param {string} me
 * @param {string} read_up_to
 */
export function readOverHidden(loaded, chat, me, read_up_to) {
  const start = loaded.findLastIndex(({ message_id }) => compareIds(message_id, read_up_to) <= 0) + 1;
  let mark = read_up_to;
  for (const message of loaded.slice(start)) {
    if (isHidden(message)) mark = message.message_id;
    else if (mayBeUnread(message, chat, me)) break;
  }
  return mark;
}

export class Part {
  /** The part is `messages.slice(start, end)`. */
  start = 0;
  end = 0;
  /** Whether it reaches the newest message, and keeps reaching it when more arrive. */
  isAtEnd = true;
  /** Messages that are enough at the end: a higher window needs more messages. */
  #enough = STEP;
  #first = "";
  #last = "";

  /** The end of the messages; more of it if it was on the page before. @param {readonly Message[]} messages */
  toEnd(messages) {
    const count = messages.length;
    this.#set(messages, this.isAtEnd && this.#first ? this.start : Math.max(this.start, count - 2 * STEP), count);
  }

  /**
   * The part of a chat that was just opened.
   * @param {readonly Message[]} messages
   * @param {number} unread the first unread one; -1 for the end
   */
  open(messages, unread) {
    const count = messages.length;
    if (unread < 0) this.#set(messages, Math.max(count - STEP, 0), count);
    else this.#set(messages, Math.max(unread - STEP, 0), Math.min(unread + 2 * STEP, count));
  }

  /**
   * After a change of the messages: the same ones as before, and new ones at the end if the part was at the end.
   * @param {readonly Message[]} messages
   * @param {boolean} isFollowing whether the view is at the end, so that messages may leave above it
   */
  follow(messages, isFollowing) {
    const count = messages.length;
    const end = this.isAtEnd ? count : messages.findLastIndex(({ key }) => key === this.#last) + 1 || count;
    const start = this.#first ? messages.findIndex(({ key }) => key === this.#first) : 0;
    const most = isFollowing ? Math.min(this.#enough + SPARE_ROWS, MAX_ROWS) : MAX_ROWS;
    if (start >= 0 && end - start <= most) this.#set(messages, start, end);
    else if (start < 0 || isFollowing) this.#set(messages, Math.max(end - this.#enough, 0), end);
    else this.#set(messages, start, start + MAX_ROWS);
  }

  /**
   * Adds messages where the view comes near an edge of the part, and removes as many at the other edge.
   * @param {readonly Message[]} messages
   * @param {{top: boolean, end: boolean}} near
   * @param {boolean} isFollowing whether the view is at the end, and needs all its messages
   */
  grow(messages, near, isFollowing) {
    const { start, end } = this;
    if (near.top && start > 0) {
      const next = Math.max(start - STEP, 0);
      if (isFollowing) this.#enough = Math.min(end - next, MAX_ROWS - SPARE_ROWS);
      this.#set(messages, next, Math.min(end, next + MAX_ROWS));
    } else if (near.end && end < messages.length) {
      const next = Math.min(end + STEP, messages.length);
      this.#set(messages, Math.max(start, next - MAX_ROWS), next);
    }
  }

  /**
   * Whether `grow` would change it.
   * @param {number} count of the messages
   * @param {{top: boolean, end: boolean}} near
   */
  canGrow(count, near) {
    return (near.top && this.start > 0) || (near.end && this.end < count);
  }

  /** @param {readonly Message[]} messages @param {number} start @param {number} end */
  #set(messages, start, end) {
    this.start = start;
    this.end = end;
    this.isAtEnd = end >= messages.length;
    this.#first = messages[start]?.key ?? "";
    this.#last = messages[end - 1]?.key ?? "";
  }
}
