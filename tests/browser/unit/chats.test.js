// Chats: their ids, order, unread counts and marks, in any order of arrival.

import assert from "node:assert/strict";
import test from "node:test";
import { ChatBook } from "../../../web/chat-book.js";
import {
  chatFromWire,
  directChatId,
  emptyChat,
  inOrder,
  otherMember,
  withMessage,
  withReceipt,
} from "../../../web/chats.js";
import { Conversations } from "../../../web/conversations.js";
import { fromWire } from "../../../web/messages.js";
import { ADA, CHAT, idAt, MIRA, wireMessage } from "./fakes.js";

const message = (minutes, options) => fromWire(wireMessage(minutes, options));
const empty = emptyChat(CHAT, [ADA, MIRA]);

test("a direct chat's id is the same for both, the lower number first", () => {
  assert.equal(directChatId(ADA, MIRA), CHAT);
  assert.equal(directChatId(MIRA, ADA), CHAT);
  assert.equal(otherMember(CHAT, ADA), MIRA);
  for (const wrong of ["d-7-12", "d-7", "d-x-11", "", "d-07-11", "d-7-11-1"]) assert.equal(otherMember(wrong, ADA), "");
});

test("another user's message is unread, an own message is not, and a replayed one is counted once", () => {
  const chat = [message(1), message(2, { sender_id: ADA }), message(3), message(3), message(2)].reduce(
    (all, one) => withMessage(all, one, ADA),
    empty,
  );
  assert.equal(chat.unread, 2);
  assert.equal(chat.newest.message_id, idAt(3));
});

test("marks only move forward, and reading implies delivery", () => {
  const later = withReceipt(empty, { chat_id: CHAT, user_id: MIRA, read_up_to: idAt(5) }, ADA, []);
  assert.deepEqual(later.marks[MIRA], { delivered_up_to: idAt(5), read_up_to: idAt(5) });
  assert.equal(
    withReceipt(later, { chat_id: CHAT, user_id: MIRA, read_up_to: idAt(4), delivered_up_to: idAt(2) }, ADA, []),
    later,
  );
});

test("reading on another device leaves only messages above the mark unread", () => {
  const messages = [message(1), message(2), message(3)];
  const chat = messages.reduce((all, one) => withMessage(all, one, ADA), empty);
  assert.equal(withReceipt(chat, { chat_id: CHAT, user_id: ADA, read_up_to: idAt(2) }, ADA, messages).unread, 1);
  assert.equal(withReceipt(chat, { chat_id: CHAT, user_id: ADA, read_up_to: idAt(3) }, ADA, messages).unread, 0);
  assert.equal(withReceipt(chat, { chat_id: CHAT, user_id: MIRA, read_up_to: idAt(3) }, ADA, messages).unread, 3);
});

test("chats are in the order of their newest messages, without empty ones", () => {
  const older = { ...withMessage(empty, message(1), ADA), chat_id: "d-1-11" };
  assert.deepEqual(
    inOrder([empty, older, withMessage(empty, message(2), ADA)]).map(({ chat_id }) => chat_id),
    [CHAT, "d-1-11"],
  );
});

test("a list that is older than the session removes no live message and no mark", () => {
  const conversations = new Conversations(async () => ({}));
  const book = new ChatBook(ADA, conversations);
  for (const minutes of [1, 2]) {
    book.add(message(minutes));
    conversations.add(message(minutes));
  }
  book.receive({ chat_id: CHAT, user_id: ADA, read_up_to: idAt(1) });
  book.merge([{ chat_id: CHAT, member_ids: [ADA, MIRA], newest: wireMessage(1), unread: 1 }]);
  assert.equal(book.of(CHAT).newest.message_id, idAt(2));
  assert.equal(book.of(CHAT).unread, 1);
});

test("others' newest message is to be marked as delivered, and as read while anything is unread", () => {
  const book = new ChatBook(ADA, new Conversations(async () => ({})));
  assert.equal(book.unread(CHAT), "");
  book.add(message(1));
  assert.equal(book.undelivered(CHAT), idAt(1));
  book.add(message(2, { sender_id: ADA }));
  assert.equal(book.undelivered(CHAT), "");
  assert.equal(book.unread(CHAT), idAt(2));
  book.receive({ chat_id: CHAT, user_id: ADA, read_up_to: idAt(2) });
  assert.equal(book.unread(CHAT), "");
});

test("a chat from the wire without unread count or marks has none", () => {
  assert.deepEqual(chatFromWire({ chat_id: CHAT }), { ...emptyChat(CHAT, []), newest: null });
});
