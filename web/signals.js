// What is said along the way and may be said again: how far one has read, and one's reactions. Each is kept until the
// server has repeated it, so that none is lost with a connection.

import { laterId } from "./messages.js";

/** @import {Marks, WireReaction, WireReceipt} from "./types.js" */

export class Receipts {
  /** @type {Map<string, Marks>} by chat_id */
  #unconfirmed = new Map();

  /** @param {WireReceipt} receipt one's own */
  mark({ chat_id, delivered_up_to = "0", read_up_to = "0" }) {
    const before = this.#unconfirmed.get(chat_id) ?? { delivered_up_to: "0", read_up_to: "0" };
    this.#unconfirmed.set(chat_id, {
      delivered_up_to: laterId(before.delivered_up_to, laterId(delivered_up_to, read_up_to)),
      read_up_to: laterId(before.read_up_to, read_up_to),
    });
  }

  /** The server told of one's own receipt. @param {WireReceipt} receipt */
  confirm({ chat_id, delivered_up_to = "0", read_up_to = "0" }) {
    const marks = this.#unconfirmed.get(chat_id);
    if (!marks) return;
    const read = laterId(marks.read_up_to, read_up_to) === read_up_to;
    const delivered = laterId(marks.delivered_up_to, delivered_up_to) === delivered_up_to;
    if (read && delivered) this.#unconfirmed.delete(chat_id);
  }

  /** The frames to send. */
  frames() {
    return [...this.#unconfirmed].map(([chat_id, marks]) => ({ receipt: { chat_id, ...marks } }));
  }
}

export class Reactions {
  /** @type {Map<string, {reaction: WireReaction, frame: number}>} */
  #unconfirmed = new Map();

  /** @param {WireReaction} reaction */
  want(reaction) {
    this.#unconfirmed.set(keyOf(reaction), { reaction, frame: 0 });
  }

  /** The server told of one's own reaction. @param {WireReaction} reaction */
  confirm(reaction) {
    const wanted = this.#unconfirmed.get(keyOf(reaction));
    if (wanted && Boolean(wanted.reaction.set) === Boolean(reaction.set)) this.#unconfirmed.delete(keyOf(reaction));
  }

  /** Sends what was not sent in this session. @param {(frame: object) => number} send */
  flush(send) {
    for (const wanted of this.#unconfirmed.values()) {
      const { chat_id, message_id, emoji, set } = wanted.reaction;
      if (!wanted.frame) wanted.frame = send({ [set ? "react" : "unreact"]: { chat_id, message_id, emoji } });
    }
  }

  /** Nothing that was sent will be answered: the session is gone. */
  sessionLost() {
    for (const wanted of this.#unconfirmed.values()) wanted.frame = 0;
  }

  /**
   * The server refused a frame.
   * @param {number} frame
   * @returns {WireReaction | null} what to show instead, if it was a reaction
   */
  refuse(frame) {
    for (const [key, wanted] of this.#unconfirmed) {
      if (wanted.frame !== frame) continue;
      this.#unconfirmed.delete(key);
      return { ...wanted.reaction, set: !wanted.reaction.set };
    }
    return null;
  }
}

/** @param {WireReaction} reaction */
const keyOf = ({ chat_id, message_id, emoji }) => `${chat_id} ${message_id} ${emoji}`;
