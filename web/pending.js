// Receipts and reactions that the server has not confirmed. Each is kept and sent again in a new session until the
// server sends it back as an event, so that none is lost with a connection.

import { laterId } from "./messages.js";

/** @import {Marks} from "./types.js" */
/** @import {ClientFrame, Reaction as WireReaction, Receipt as WireReceipt} from "./wire.js" */

export class Receipts {
  /** @type {Map<string, Marks>} by chat_id */
  #unconfirmed = new Map();

  /** @param {WireReceipt} receipt of this user */
  mark({ chat_id, delivered_up_to = "0", read_up_to = "0" }) {
    const before = this.#unconfirmed.get(chat_id) ?? { delivered_up_to: "0", read_up_to: "0" };
    this.#unconfirmed.set(chat_id, {
      delivered_up_to: laterId(before.delivered_up_to, laterId(delivered_up_to, read_up_to)),
      read_up_to: laterId(before.read_up_to, read_up_to),
    });
  }

  /** Removes the marks that an event confirms. @param {WireReceipt} receipt of this user */
  confirm({ chat_id, delivered_up_to = "0", read_up_to = "0" }) {
    const marks = this.#unconfirmed.get(chat_id);
    if (!marks) return;
    const read = laterId(marks.read_up_to, read_up_to) === read_up_to;
    const delivered = laterId(marks.delivered_up_to, delivered_up_to) === delivered_up_to;
    if (read && delivered) this.#unconfirmed.delete(chat_id);
  }

  /** One frame per chat with unconfirmed marks. */
  frames() {
    return [...this.#unconfirmed].map(([chat_id, marks]) => ({ receipt: { chat_id, ...marks } }));
  }
}

export class Reactions {
  /** @type {Map<string, {reaction: WireReaction, frame: number}>} */
  #unconfirmed = new Map();

  /** @param {WireReaction} reaction */
  add(reaction) {
    this.#unconfirmed.set(keyOf(reaction), { reaction, frame: 0 });
  }

  /** Removes the reaction that an event confirms. @param {WireReaction} reaction of this user */
  confirm(reaction) {
    const entry = this.#unconfirmed.get(keyOf(reaction));
    if (entry && Boolean(entry.reaction.set) === Boolean(reaction.set)) this.#unconfirmed.delete(keyOf(reaction));
  }

  /** Sends the reactions that were not sent in this session. @param {(frame: ClientFrame) => number} send */
  flush(send) {
    for (const entry of this.#unconfirmed.values()) {
      const { set, chat_id, message_id, emoji } = entry.reaction;
      const reaction = { chat_id, message_id, emoji };
      if (!entry.frame) entry.frame = send(set ? { react: reaction } : { unreact: reaction });
    }
  }

  /** Marks every reaction as unsent: the session ended, so none of them will be confirmed. */
  sessionLost() {
    for (const entry of this.#unconfirmed.values()) entry.frame = 0;
  }

  /**
   * Removes the reaction whose frame the server refused.
   * @param {number} frame
   * @returns {WireReaction | null} the reaction that undoes it; null if the frame was not a reaction
   */
  revert(frame) {
    for (const [key, entry] of this.#unconfirmed) {
      if (entry.frame !== frame) continue;
      this.#unconfirmed.delete(key);
      return { ...entry.reaction, set: !entry.reaction.set };
    }
    return null;
  }
}

/** @param {WireReaction} reaction */
const keyOf = ({ chat_id, message_id, emoji }) => `${chat_id} ${message_id} ${emoji}`;
