// The user's chats, merged from the archive's pages and from live events. The result does not depend on the order in
// which they arrive.

import { chatFromWire, emptyChat, inOrder, marksOf, otherMember, withMessage, withReceipt } from "./chats.js";
import { Conversations } from "./conversations.js";
import { compareIds } from "./messages.js";

/** @import {Chat, Message, WireChat, WireReceipt} from "./types.js" */

/** Dispatches "change" events whose `detail` is the chat_id. */
export class ChatBook extends EventTarget {
  #me;
  #conversations;
  /** @type {Map<string, Chat>} */
  #chats = new Map();

  /** @param {string} me the user's id @param {Conversations} conversations */
  constructor(me, conversations) {
    super();
    this.#me = me;
    this.#conversations = conversations;
  }

  /** Chats with messages, the most recent first. */
  get all() {
    return inOrder(this.#chats.values());
  }

  /** @param {string} chat_id */
  of(chat_id) {
    return this.#chats.get(chat_id) ?? emptyChat(chat_id, [this.#me, this.otherOf(chat_id)].filter(Boolean));
  }

  /** The other person of a direct chat; empty if it is not one of this user's. @param {string} chat_id */
  otherOf(chat_id) {
    return otherMember(chat_id, this.#me);
  }

  /** @param {Message} message that arrived live or was just accepted */
  add(message) {
    this.#set(withMessage(this.of(message.chat_id), message, this.#me));
  }

  /** @param {readonly WireChat[]} chats as the archive returned them, which may be slightly older than live events */
  merge(chats) {
    for (const wire of chats) {
      const { messages } = this.#conversations.of(wire.chat_id);
      const live = messages.reduce((chat, message) => withMessage(chat, message, this.#me), chatFromWire(wire));
      const own = { chat_id: wire.chat_id, user_id: this.#me, ...marksOf(this.of(wire.chat_id), this.#me) };
      this.#set(withReceipt(live, own, this.#me, messages));
    }
  }

  /** @param {WireReceipt} receipt one's own or another member's */
  receive(receipt) {
    const chat = this.of(receipt.chat_id);
    const after = withReceipt(chat, receipt, this.#me, this.#conversations.of(receipt.chat_id).messages);
    if (after !== chat) this.#set(after);
  }

  /** The newest message of others, if it has not been marked as delivered; else empty. @param {string} chat_id */
  undelivered(chat_id) {
    const { newest, marks } = this.of(chat_id);
    const delivered = marks[this.#me]?.delivered_up_to ?? "0";
    const fresh = newest && newest.sender_id !== this.#me && compareIds(newest.message_id, delivered) > 0;
    return fresh ? newest.message_id : "";
  }

  /**
   * The newest message, if a message of others up to it has not been marked as read; else empty.
   * @param {string} chat_id
   */
  unread(chat_id) {
    const chat = this.of(chat_id);
    if (!chat.newest || compareIds(chat.newest.message_id, marksOf(chat, this.#me).read_up_to) <= 0) return "";
    return chat.unread > 0 || chat.newest.sender_id !== this.#me ? chat.newest.message_id : "";
  }

  /** @param {Chat} chat */
  #set(chat) {
    this.#chats.set(chat.chat_id, chat);
    this.dispatchEvent(new CustomEvent("change", { detail: chat.chat_id }));
  }
}
