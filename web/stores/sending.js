// Everything that this user sends: messages by way of the outbox, drafts, reactions, receipts and typing signals. Each
// is kept until the server confirms it, and sent again in the next session; a typing signal is not.

import { Drafts } from "../drafts.js";
import { fromEntry, timeOfId } from "../messages.js";
import { Outbox } from "../outbox.js";
import { Reactions, Receipts } from "../pending.js";
import { Chats } from "./chats.js";
import { Kept } from "./kept.js";
import { Store } from "./store.js";

/** @import {Message} from "../types.js" */
/** @import {ClientFrame, Reaction as WireReaction, Receipt as WireReceipt, Refused} from "../wire.js" */

/** Milliseconds after which a send without an acknowledgement makes the session reconnect. */
const ACKNOWLEDGEMENT_DEADLINE_MS = 10_000;
/** Receipts within this many milliseconds are sent together. */
const RECEIPT_PAUSE_MS = 150;
/** The limit until Welcome states another. */
const MAX_TEXT_BYTES = 16 * 1024;

/**
 * The connection, as far as sending uses it.
 * @typedef {object} Line
 * @property {(frame: ClientFrame) => number} send returns the number of the frame; 0 while there is no session
 * @property {() => void} restart reconnects: a frame was not answered
 */

/** @typedef {{state: "failed" | "draft" | "pending", text: string}} Unsent a text that is not in the history yet */

export class Sending extends Store {
  maxTextBytes = MAX_TEXT_BYTES;
  /** Whether to send typing events to the other members. */
  isTypingShown = () => true;
  /** Whether a message was sent since the page was opened. */
  hasSent = false;
  #chats;
  #line;
  #kept;
  #receipts = new Receipts();
  #reactions = new Reactions();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #flushTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #receiptTimer;

  /** @param {Chats} chats @param {Kept} kept @param {Line} line */
  constructor(chats, kept, line) {
    super();
    this.#chats = chats;
    this.#kept = kept;
    this.#line = line;
    this.outbox = new Outbox(kept);
    this.drafts = new Drafts(kept, this.outbox);
    kept.subscribe(() => this.changed());
    chats.onUndelivered = (chat_id, delivered_up_to) => this.#mark({ chat_id, delivered_up_to });
  }

  /** Whether what is not sent yet would survive that the page closes. */
  get isDurable() {
    return this.#kept.isDurable;
  }

  /** The messages of a chat that are not accepted yet, in order. @param {string} chat_id @returns {Message[]} */
  waiting(chat_id) {
    return this.outbox.of(chat_id).map((entry) => fromEntry(entry, this.#chats.me.user_id));
  }

  /**
   * The texts of this browser that are not in the history yet. Of each chat: the failed message, else the draft, else
   * the newest waiting message.
   * @returns {Map<string, Unsent>} by chat_id
   */
  unsent() {
    /** @type {Map<string, Unsent>} */
    const texts = new Map();
    for (const [chat_id, { state, body }] of this.outbox.byChat()) texts.set(chat_id, { state, text: body });
    for (const chat_id of this.drafts.chats) {
      const text = this.drafts.get(chat_id).trim();
      if (text && texts.get(chat_id)?.state !== "failed") texts.set(chat_id, { state: "draft", text });
    }
    return texts;
  }

  /** Returns when the message is kept. @param {string} chat_id @param {string} body */
  async send(chat_id, body) {
    await this.outbox.add(chat_id, body, Date.now());
    this.hasSent = true;
    this.#chats.typing.reset();
    this.#flush();
    this.changed();
  }

  /** Sends a failed message again. @param {Message} message */
  retry({ client_message_id }) {
    this.outbox.retry(client_message_id);
    this.#flush();
    this.changed();
  }

  /** Deletes a failed message. @param {Message} message */
  discard({ client_message_id }) {
    this.outbox.remove(client_message_id);
    this.changed();
  }

  /** Sets the user's reaction, or removes it if it is set. @param {Message} message @param {string} emoji */
  toggleReaction({ chat_id, message_id, reactions }, emoji) {
    const user_id = this.#chats.me.user_id;
    const set = !reactions.some((tally) => tally.emoji === emoji && tally.user_ids.includes(user_id));
    const reaction = { chat_id, message_id, user_id, emoji, set };
    this.#chats.react(reaction);
    this.#reactions.add(reaction);
    this.#reactions.flush(this.#line.send);
  }

  /** The user has seen the chat up to this message. @param {string} chat_id @param {string} read_up_to its id */
  markRead(chat_id, read_up_to) {
    this.#mark({ chat_id, read_up_to });
  }

  /** The person is writing in the chat. @param {string} chat_id */
  writing(chat_id) {
    if (this.isTypingShown()) this.#chats.typing.announce(chat_id, this.#line.send);
  }

  /** Deletes this user's drafts and unsent messages from this browser. */
  clear() {
    return this.#kept.clear();
  }

  // ---- events of the session

  /** @param {number} maxTextBytes the limit of this session; 0 for the usual one */
  online(maxTextBytes) {
    this.maxTextBytes = maxTextBytes || MAX_TEXT_BYTES;
    this.#flush();
    this.#flushReceipts();
    this.#reactions.flush(this.#line.send);
    this.changed();
  }

  offline() {
    this.outbox.sessionLost();
    this.#reactions.sessionLost();
  }

  /** @param {string} client_message_id @param {string} message_id */
  accepted(client_message_id, message_id) {
    const entry = this.outbox.get(client_message_id);
    if (!entry) return;
    this.outbox.remove(client_message_id);
    const at_ms = timeOfId(message_id);
    this.#chats.add({ ...fromEntry(entry, this.#chats.me.user_id), message_id, at_ms, state: "accepted", error: "" });
    this.#flush();
    this.changed();
  }

  /** @param {Refused} refused */
  refused(refused) {
    const { client_message_id, frame } = refused;
    if (client_message_id) {
      const entry = this.outbox.get(client_message_id);
      this.outbox.refused(client_message_id, refused, Date.now());
      if (entry && refused.code === "recipient_deleted")
        this.#chats.profiles.refresh(this.#chats.otherOf(entry.chat_id));
      this.#flush();
      this.changed();
    } else {
      const before = this.#reactions.revert(Number(frame));
      if (before) this.#chats.react(before);
    }
  }

  /**
   * A reaction or receipt of this user came back from the server.
   * @param {{reaction?: WireReaction, receipt?: WireReceipt}} event
   */
  confirmed({ reaction, receipt }) {
    if (reaction) this.#reactions.confirm(reaction);
    if (receipt) this.#receipts.confirm(receipt);
  }

  /** @param {WireReceipt} receipt of this user */
  #mark(receipt) {
    this.#receipts.mark(receipt);
    this.#chats.receive({ ...receipt, user_id: this.#chats.me.user_id });
    this.#receiptTimer ??= setTimeout(() => this.#flushReceipts(), RECEIPT_PAUSE_MS);
  }

  #flushReceipts() {
    clearTimeout(this.#receiptTimer);
    this.#receiptTimer = undefined;
    for (const frame of this.#receipts.frames()) this.#line.send(frame);
  }

  /** Sends the due messages of the outbox, and sets a timer for delayed ones. */
  #flush() {
    clearTimeout(this.#flushTimer);
    const now_ms = Date.now();
    const { due, next_ms } = this.outbox.due(now_ms);
    for (const { client_message_id, chat_id, body } of due) {
      const first_sent_ms_ago = this.outbox.firstSentMsAgo(client_message_id, now_ms);
      if (!this.#line.send({ send: { client_message_id, chat_id, text: { body }, first_sent_ms_ago } })) return;
      this.outbox.sent(client_message_id, now_ms);
      setTimeout(() => this.#checkAcknowledged(client_message_id, now_ms), ACKNOWLEDGEMENT_DEADLINE_MS);
    }
    if (next_ms < Infinity) this.#flushTimer = setTimeout(() => this.#flush(), next_ms - now_ms);
  }

  /** @param {string} client_message_id @param {number} sent_ms */
  #checkAcknowledged(client_message_id, sent_ms) {
    if (this.outbox.get(client_message_id)?.sent_ms === sent_ms) this.#line.restart();
  }
}
