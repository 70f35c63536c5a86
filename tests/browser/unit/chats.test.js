// Chats: their ids, order, unread counts and marks, in any order of arrival.

import assert from "node:assert/strict";
import test from "node:test";
import {
  chatFromWire,
  directChatId,
  emptyChat,
  inOrder,
  otherMember,
  withMessage,
  withReceipt,
} from "../../../web/chats.js";
import { fromWire } from "../../../web/messages.js";
import { Chats } from "../../../web/stores/chats.js";
import { ADA, CHAT, historyOf, idAt, MIRA, settle, wireMessage } from "./fakes.js";

const message = (minutes, options) => fromWire(wireMessage(minutes, options));
const empty = emptyChat(CHAT, [ADA, MIRA]);
const all = (messages) => ({ messages, hasOlder: false, hasNewer: false });
const newChats = (api = {}) => new Chats(api, { user_id: ADA });

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
  const later = withReceipt(empty, { chat_id: CHAT, user_id: MIRA, read_up_to: idAt(5) }, ADA, all([]));
  assert.deepEqual(later.marks[MIRA], { delivered_up_to: idAt(5), read_up_to: idAt(5) });
  assert.equal(
    withReceipt(later, { chat_id: CHAT, user_id: MIRA, read_up_to: idAt(4), delivered_up_to: idAt(2) }, ADA, all([])),
    later,
  );
});

test("reading on another device leaves only messages above the mark unread", () => {
  const messages = [message(1), message(2), message(3)];
  const chat = messages.reduce((all, one) => withMessage(all, one, ADA), empty);
  assert.equal(withReceipt(chat, { chat_id: CHAT, user_id: ADA, read_up_to: idAt(2) }, ADA, all(messages)).unread, 1);
  assert.equal(withReceipt(chat, { chat_id: CHAT, user_id: ADA, read_up_to: idAt(3) }, ADA, all(messages)).unread, 0);
  assert.equal(withReceipt(chat, { chat_id: CHAT, user_id: MIRA, read_up_to: idAt(3) }, ADA, all(messages)).unread, 3);
});

test("chats are in the order of their newest messages, without empty ones", () => {
  const older = { ...withMessage(empty, message(1), ADA), chat_id: "d-1-11" };
  assert.deepEqual(
    inOrder([empty, older, withMessage(empty, message(2), ADA)]).map(({ chat_id }) => chat_id),
    [CHAT, "d-1-11"],
  );
});

test("a list that is older than the session removes no live message and no mark", () => {
  const book = newChats();
  for (const minutes of [1, 2]) book.add(message(minutes));
  book.receive({ chat_id: CHAT, user_id: ADA, read_up_to: idAt(1) });
  book.merge([{ chat_id: CHAT, member_ids: [ADA, MIRA], newest: wireMessage(1), unread: 1 }]);
  assert.equal(book.of(CHAT).newest.message_id, idAt(2));
  assert.equal(book.of(CHAT).unread, 1);
});

test("reading a part of the unread messages leaves the others unread, also where not all are loaded", () => {
  const chat = { ...empty, newest: message(9), unread: 40 };
  const receipt = { chat_id: CHAT, user_id: ADA, read_up_to: idAt(2) };
  const part = { ...all([1, 2, 3].map((minute) => message(minute))), hasNewer: true };
  assert.equal(withReceipt(chat, receipt, ADA, part).unread, 38);
  assert.equal(withReceipt({ ...chat, unread: 100 }, receipt, ADA, part).unread, 100, "perhaps more");
});

test("a chat that is not in the list is read when it is opened, to know what is unread in it", async () => {
  const wire = { chat_id: CHAT, newest: wireMessage(9), unread: 2, receipts: [{ user_id: ADA, read_up_to: idAt(7) }] };
  const book = newChats({
    chats: async () => ({}),
    chat: async () => wire,
    profiles: async () => ({ profiles: [] }),
    messages: async () => ({ messages: historyOf(7, 8, 9) }),
  });
  await book.load();
  book.open(CHAT);
  await settle();
  assert.equal(book.unreadMark(CHAT), idAt(7));
  assert.equal(book.conversations.of(CHAT).phase, "ready");
});

test("others' newest message is to be marked as delivered, and the mark above the unread ones is known", () => {
  const book = newChats();
  assert.equal(book.unreadMark(CHAT), "");
  book.add(message(1));
  assert.equal(book.undelivered(CHAT), idAt(1));
  book.add(message(2, { sender_id: ADA }));
  assert.equal(book.undelivered(CHAT), "");
  assert.equal(book.unreadMark(CHAT), "0");
  book.receive({ chat_id: CHAT, user_id: ADA, read_up_to: idAt(2) });
  assert.equal(book.unreadMark(CHAT), "");
});

test("a chat from the wire without unread count or marks has none", () => {
  assert.deepEqual(chatFromWire({ chat_id: CHAT }), { ...emptyChat(CHAT, []), newest: null });
});
