// The user's changes that are not accepted yet. The page shows them at once: over the accepted state of a message, so
// that a refused change leaves no trace.

import { fold, inOrder, keyOf } from "./changes.js";
import { firstIdAt, idAbove, laterId } from "./ids.js";
import { withChanges } from "./messages.js";
import { isQueued, newEntry, Queue } from "./queue.js";
import { Kept } from "./stores/kept.js";

/** @import {ChangeEvent, State} from "./changes.js" */
/** @import {Chat, Marks, Message, WaitingChange} from "./types.js" */
/** @import {Change, ClientFrame, Marked, ServerFrame, Text} from "./wire.js" */

/** After a retryable refusal, marks are sent again after this time at least, in milliseconds. */
const MARKS_PAUSE_MS = 5_000;

/**
 * The queue of changes to messages.
 * @extends {Queue<WaitingChange>}
 */
export class Changes extends Queue {
  /** The texts of edits that wait, since the members whom they may mention are being loaded. @type {Set<Text | undefined>} */
  held = new Set();

  /** @param {Kept} kept */
  constructor(kept) {
    super(kept, "change", isChange);
  }

  /**
   * Adds a change. It replaces a change with the same key that was not sent yet.
   * @param {Change} change of this user
   * @param {number} now_ms
   */
  add(change, now_ms) {
    const { chat_id, target_id } = change;
    const isSame = (/** @type {Change} */ other) => other.target_id === target_id && keyOf(other) === keyOf(change);
    for (const { client_id, first_sent_ms, change: other } of this.of(chat_id))
      if (!first_sent_ms && isSame(other)) this.remove(client_id);
    this.change({ ...newEntry(chat_id, now_ms), change });
  }

  /** @override @param {WaitingChange} entry */
  isReady({ change }) {
    return !this.held.has(change.edited?.text);
  }

  /**
   * The message with the waiting changes to it, each as if it were accepted now; the same object if there are none.
   * @param {Message} message
   * @returns {Message}
   */
  over(message) {
    let shown = message;
    for (const waiting of this.size ? this.all : []) {
      const { change } = waiting;
      if (change.target_id !== message.message_id) continue;
      const isChanging = shown.isChanging || "edited" in change || "deleted" in change;
      shown = { ...withChanges(shown, [acceptedNow(waiting, shown.changes)]), isChanging };
    }
    return shown;
  }

  /**
   * The chat with the waiting changes to the chat itself; the same object if there are none.
   * @param {Chat} chat
   * @returns {Chat}
   */
  overChat(chat) {
    let { changes } = chat;
    for (const waiting of this.size ? this.of(chat.chat_id) : [])
      if (waiting.change.target_id === "0") changes = fold(changes, [acceptedNow(waiting, changes)]);
    return changes === chat.changes ? chat : { ...chat, changes };
  }
}

/**
 * A waiting change as an event after all changes of a state.
 * @param {WaitingChange} waiting
 * @param {State} state
 * @returns {ChangeEvent}
 */
function acceptedNow({ change, created_ms }, state) {
  const newest_id = inOrder(state).at(-1)?.event_id ?? "0";
  return { event_id: laterId(firstIdAt(created_ms), idAbove(newest_id)), change };
}

/** @param {any} value @returns {value is WaitingChange} */
const isChange = (value) => isQueued(value) && typeof value.change?.target_id === "string";

/**
 * The user's marks that are not accepted yet, merged per chat. After a reload, the marks that a copied chat has and the
 * server lacks are added again (`Chats.onUnsent`). While the user hides how far they have read, others do not receive a change
 * with `read_up_to`: `delivered_up_to` is sent in another one.
 */
export class WaitingMarks {
  /** @type {Map<string, {chat_id: string, marked: Marks, isSent: boolean}>} by chat_id and, if apart, kind of mark */
  #all = new Map();
  #areApart;

  /** @param {() => boolean} areApart whether the two marks of a chat are sent one by one */
  constructor(areApart) {
    this.#areApart = areApart;
  }

  /** @param {string} chat_id @param {Marked} marked one mark, or both */
  add(chat_id, { delivered_up_to = "0", read_up_to = "0" }) {
    const areApart = this.#areApart();
    const key = areApart && read_up_to !== "0" ? `${chat_id} read` : chat_id;
    const before = this.#all.get(key)?.marked ?? { delivered_up_to: "0", read_up_to: "0" };
    const marked = {
      delivered_up_to: laterId(before.delivered_up_to, areApart ? delivered_up_to : laterId(delivered_up_to, read_up_to)),
      read_up_to: laterId(before.read_up_to, read_up_to),
    };
    this.#all.set(key, { chat_id, marked, isSent: false });
  }

  /**
   * Sends the marks that were not sent in this session, one frame per chat, or two.
   * @param {(frame: ClientFrame, answered: (answer: ServerFrame) => void) => boolean} send
   */
  flush(send) {
    for (const [key, waiting] of this.#all) {
      if (waiting.isSent) continue;
      const { chat_id, marked } = waiting;
      waiting.isSent = send({ change: { chat_id, marked } }, ({ refused }) => {
        if (this.#all.get(key) !== waiting) return; // the marks have moved meanwhile
        if (!refused?.retryable) return void this.#all.delete(key);
        const pause_ms = Math.max(refused.retry_after_ms ?? 0, MARKS_PAUSE_MS);
        setTimeout(() => {
          waiting.isSent = false;
          this.flush(send);
        }, pause_ms);
      });
    }
  }

  /** The session ended: none of the marks in flight will be answered. */
  sessionLost() {
    for (const waiting of this.#all.values()) waiting.isSent = false;
  }
}
