// Chats: their ids, order, unread counts and marks, in any order of arrival.

import assert from "node:assert/strict";
import test, { mock } from "node:test";
import { newestOf } from "../../../web/changes.js";
import {
  chatFromWire,
  directChatId,
  emptyChat,
  inOrder,
  otherMember,
  withChatChanges,
  withMessage,
} from "../../../web/chats.js";
import { isDeleted } from "../../../web/kinds/deleted.js";
import { textOf } from "../../../web/kinds/edited.js";
import { marksOf } from "../../../web/kinds/marked.js";
import { fromWire, withChanges } from "../../../web/messages.js";
import { Chats } from "../../../web/stores/chats.js";
import { ADA, changeAt, CHAT, historyOf, idAt, markAt, MIRA, settle, wireMessage } from "./fakes.js";

const message = (minutes, options) => fromWire(wireMessage(minutes, options));
const empty = emptyChat(CHAT, [ADA, MIRA]);
const marked = (chat, user_id, marks, loaded) => withChatChanges(chat, [markAt(20, user_id, marks)], ADA, loaded);
const all = (messages) => ({ messages, hasOlder: false, hasNewer: false });
const newChats = (api = {}) => new Chats(api, { user_id: ADA });

test("a direct chat's id is the same for both, the lower number first", () => {
  assert.equal(directChatId(ADA, MIRA), CHAT);
  assert.equal(directChatId(MIRA, ADA), CHAT);
  assert.equal(otherMember(CHAT, ADA), MIRA);
  for (const wrong of ["d-7-12", "d-7", "d-x-11", "", "d-07-11", "d-7-11-1"]) assert.equal(otherMember(wrong, ADA), "");
  const highest = "9223372036854775807";
  assert.equal(otherMember(`d-11-${highest}`, ADA), highest);
  for (const high of ["9223372036854775808", "9999999999999999999"]) assert.equal(otherMember(`d-11-${high}`, ADA), "");
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
  const later = marked(empty, MIRA, { read_up_to: idAt(5) }, all([]));
  assert.deepEqual(marksOf(later, MIRA), { delivered_up_to: idAt(5), read_up_to: idAt(5) });
  const lower = marked(later, MIRA, { read_up_to: idAt(4), delivered_up_to: idAt(2) }, all([]));
  assert.deepEqual(marksOf(lower, MIRA), marksOf(later, MIRA));
});

test("reading on another device leaves only messages above the mark unread", () => {
  const messages = [message(1), message(2), message(3)];
  const chat = messages.reduce((all, one) => withMessage(all, one, ADA), empty);
  assert.equal(marked(chat, ADA, { read_up_to: idAt(2) }, all(messages)).unread, 1);
  assert.equal(marked(chat, ADA, { read_up_to: idAt(3) }, all(messages)).unread, 0);
  assert.equal(marked(chat, MIRA, { read_up_to: idAt(3) }, all(messages)).unread, 3);
  const deleted = withChanges(messages[2], [changeAt(5, 3, { deleted: {} }, MIRA)]);
  assert.equal(marked(chat, ADA, { read_up_to: idAt(1) }, all([...messages.slice(0, 2), deleted])).unread, 1, "it is deleted");
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
  book.change(markAt(3, ADA, { read_up_to: idAt(1) }));
  book.merge([{ chat_id: CHAT, member_ids: [ADA, MIRA], newest: historyOf(1)[0], unread: 1 }]);
  assert.equal(book.of(CHAT).newest.message_id, idAt(2));
  assert.equal(book.of(CHAT).unread, 1);
});

test("a message that is read stays read, if the archive has its mark before the message, or the mark arrives first", () => {
  const book = newChats();
  for (const minutes of [1, 2]) book.add(message(minutes));
  book.change(markAt(3, ADA, { read_up_to: idAt(2) }));
  const marks = [{ user_id: ADA, read_up_to: idAt(2) }];
  book.merge([{ chat_id: CHAT, member_ids: [ADA, MIRA], newest: historyOf(1)[0], marks }]);
  assert.deepEqual([book.of(CHAT).newest.message_id, book.of(CHAT).unread], [idAt(2), 0]);
  book.change(markAt(5, ADA, { read_up_to: idAt(4) }));
  book.add(message(4));
  assert.equal(book.of(CHAT).unread, 0);
  book.add(message(6));
  assert.equal(book.of(CHAT).unread, 1);
});

test("a message in a chat on a later page of the list adds to the chat's unread messages there", async (context) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  context.after(() => mock.timers.reset());
  const answers = [historyOf(7), historyOf(9)]; // the archive lags behind at first
  const book = newChats({
    chats: async () => ({ chats: [], next_cursor: "more" }),
    chat: async () => ({ chat_id: CHAT, member_ids: [ADA, MIRA], newest: answers.shift()[0], unread: 9 - answers.length }),
  });
  await book.load();
  for (const minutes of [8, 9]) book.add(message(minutes));
  for (const pause_ms of [250, 500]) {
    await settle();
    mock.timers.tick(pause_ms);
  }
  await settle();
  assert.deepEqual([book.of(CHAT).unread, book.of(CHAT).newest.message_id, answers.length], [9, idAt(9), 0]);
});

test("reading a part of the unread messages leaves the others unread, also where not all are loaded", () => {
  const chat = { ...empty, newest: message(9), unread: 40 };
  const mark = { read_up_to: idAt(2) };
  const part = { ...all([1, 2, 3].map((minute) => message(minute))), hasNewer: true };
  assert.equal(marked(chat, ADA, mark, part).unread, 38);
  assert.equal(marked({ ...chat, unread: 100 }, ADA, mark, part).unread, 100, "perhaps more");
});

test("a page of the list that is being loaded is not requested again", async () => {
  const [requests, answers] = [[], []];
  const chats = ({ cursor }) => (requests.push(cursor), new Promise((answered) => answers.push(answered)));
  const answer = (next_cursor) => answers.shift()({ chats: [], next_cursor });
  const book = newChats({ chats });
  const first = book.load();
  answer("2");
  await first;
  const loads = [book.loadMore(), book.loadMore()];
  answer("3");
  await Promise.all(loads);
  const next = book.loadMore();
  answer("");
  await next;
  assert.deepEqual([requests, book.hasMore], [["", "2", "3"], false]);
});

test("after a failed first page, reading all chats makes the list ready", async () => {
  const answers = [Promise.reject(new Error("away")), { chats: [{ chat_id: CHAT, member_ids: [MIRA, ADA] }] }];
  const book = newChats({ chats: async () => answers.shift(), profiles: async () => ({ profiles: [] }) });
  await book.load();
  assert.deepEqual([book.phase, book.hasFailed], ["failed", true]);
  await book.loadAll();
  assert.deepEqual([book.phase, book.hasFailed, book.hasMore], ["ready", false, false]);
});

test("a chat that is not in the list is read when it is opened, to know what is unread in it", async () => {
  const wire = { chat_id: CHAT, newest: historyOf(9)[0], unread: 2, marks: [{ user_id: ADA, read_up_to: idAt(7) }] };
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
  book.change(markAt(3, ADA, { read_up_to: idAt(2) }));
  assert.equal(book.unreadMark(CHAT), "");
});

test("unread mentions are counted with the messages, by edits, a deletion and the read mark", () => {
  const book = newChats();
  const ada = { mentions: [{ user_id: ADA, name: "ada" }] };
  const [all, mira] = [{ mentions_everyone: true }, { mentions: [{ user_id: MIRA, name: "mira" }] }];
  const send = (minutes, text, sender_id = MIRA) => {
    book.add(fromWire({ ...wireMessage(minutes, { sender_id }), text: { body: "@", ...text } }));
    return book.of(CHAT).unread_mentions;
  };
  assert.deepEqual([send(1, ada), send(2, {}), send(3, all), send(4, mira), send(5, all, ADA)], [1, 1, 2, 2, 2]);
  const change = (minutes, target, body) => {
    book.change(changeAt(minutes, target, body, MIRA));
    return book.of(CHAT).unread_mentions;
  };
  const edit = (minutes, target, text) => change(minutes, target, { edited: { text: { body: "@", ...text } } });
  assert.deepEqual([edit(10, 4, ada), edit(10, 4, ada), edit(9, 4, {}), edit(11, 4, all), edit(12, 4, {})], [3, 3, 3, 3, 2]);
  assert.equal(change(13, 3, { deleted: {} }), 1);
  book.merge([{ chat_id: CHAT, newest: historyOf(2)[0], unread: 2, unread_mentions: 1 }]);
  assert.equal(book.of(CHAT).unread_mentions, 1, "a list that is older than the session");
  book.change(markAt(20, ADA, { read_up_to: idAt(1) }));
  assert.equal(book.of(CHAT).unread_mentions, 0);
  assert.equal(edit(21, 1, {}), 0, "it was read");
});

/** A page's chats, and the events after which only the archive knows the counts. */
function noted(api) {
  const [book, uncounted] = [newChats(api), []];
  book.onUncounted = (event_id) => uncounted.push(event_id);
  return { book, uncounted };
}

test("the archive knows the counts after an edit of an unread message of others that is not in memory", () => {
  const wire = { chat_id: CHAT, newest: historyOf(9)[0], unread: 3, marks: [{ user_id: ADA, read_up_to: idAt(2) }] };
  const { book, uncounted } = noted();
  book.merge([wire]);
  const edit = (target, actor_id) => book.change(changeAt(20 + target, target, { edited: { text: { body: "@ada" } } }, actor_id));
  for (const target of [1, 5]) edit(target, MIRA);
  edit(6, ADA);
  book.change(changeAt(30, 7, { reacted: { emoji: "👍", set: true } }, MIRA));
  assert.deepEqual(uncounted, [idAt(25)]);
});

test("the archive knows the counts after a deletion of an unread message, and after an edit that mentions the user", () => {
  const { book, uncounted } = noted();
  for (const minutes of [1, 2, 3]) book.add(message(minutes));
  book.change(changeAt(5, 2, { deleted: {} }, MIRA));
  book.change(changeAt(6, 3, { edited: { text: { body: "Hello" } } }, MIRA));
  book.change(changeAt(7, 3, { edited: { text: { body: "@ada", mentions_everyone: true } } }, MIRA));
  assert.deepEqual(uncounted, [idAt(5), idAt(7)]);
  assert.equal(book.of(CHAT).unread_mentions, 1, "a list that lacks it is not the last one");
  book.change(markAt(8, ADA, { read_up_to: idAt(3) }));
  book.change(changeAt(9, 1, { deleted: {} }, MIRA));
  book.add(message(10, { sender_id: ADA }));
  book.change(changeAt(11, 10, { deleted: {} }));
  assert.equal(uncounted.length, 2, "one was read, the other is the user's own");
});

test("a deleted message does not count anew when a list lacks it", () => {
  const book = newChats();
  for (const minutes of [1, 2, 3]) book.add(message(minutes));
  for (const target of [3, 2]) book.change(changeAt(5, target, { deleted: {} }, MIRA));
  book.merge([{ chat_id: CHAT, newest: historyOf(1)[0], unread: 1 }]);
  assert.equal(book.of(CHAT).unread, 1);
});

test("the archive knows the counts after a message that arrives after a later one, unless it arrives again", () => {
  const { book, uncounted } = noted();
  for (const minutes of [2, 1, 1, 2]) book.add(message(minutes));
  assert.deepEqual(uncounted, [idAt(1)]);
  for (const [minutes, sender_id] of [[1, MIRA], [2, MIRA], [0, ADA]]) book.add(message(minutes, { sender_id }));
  assert.equal(uncounted.length, 1, "they are in memory, or the user's own");
});

test("a response with an older version of the user's own profile changes nothing", async () => {
  const versions = [3, 2];
  const book = newChats({ me: async () => ({ user_id: ADA, version: versions.shift() }) });
  for (const _ of [1, 2]) await book.refreshMe();
  assert.equal(book.me.version, 3);
});

test("a chat from the wire has its unread count, its marks and its own state, if there are any", () => {
  assert.deepEqual(chatFromWire({ chat_id: CHAT }), emptyChat(CHAT, []));
  const change = { event_id: idAt(5), change: { chat_id: CHAT, actor_id: ADA, marked_unread: { set: true } } };
  const chat = chatFromWire({ chat_id: CHAT, unread: 2, marks: [{ user_id: ADA, read_up_to: idAt(1) }], changes: [change] });
  assert.deepEqual([chat.unread, marksOf(chat, ADA).read_up_to], [2, idAt(1)]);
  assert.deepEqual(newestOf(chat.changes, "marked_unread"), change);
});

test("the list follows edits and the deletion of the newest message, also before a list that lacks them", () => {
  const book = newChats();
  for (const minutes of [1, 2]) book.add(message(minutes));
  book.change(changeAt(3, 1, { edited: { text: { body: "not the newest" } } }, MIRA));
  book.change(changeAt(4, 2, { edited: { text: { body: "better" } } }, MIRA));
  book.merge([{ chat_id: CHAT, member_ids: [ADA, MIRA], newest: historyOf(2)[0], unread: 2 }]);
  assert.equal(textOf(book.newestOf(book.of(CHAT))), "better");
  book.change(changeAt(5, 2, { deleted: {} }, MIRA));
  assert.ok(isDeleted(book.newestOf(book.of(CHAT))));
  const edited = changeAt(8, 7, { edited: { text: { body: "edited" } } }, MIRA);
  book.merge([{ chat_id: CHAT, member_ids: [ADA, MIRA], newest: { message: wireMessage(7), changes: [edited] } }]);
  assert.equal(textOf(book.newestOf(book.of(CHAT))), "edited", "after a reload");
});

test("a message to which another replies is loaded once, follows its changes, and may be missing", async () => {
  const requests = [];
  const book = newChats({
    messages: async (chat_id, query) => (requests.push(query.after_id), { messages: historyOf(requests.length) }),
  });
  const textAt = (minutes) => {
    const quoted = book.quotes.get(CHAT, idAt(minutes));
    return quoted && textOf(quoted);
  };
  assert.equal(textAt(1), undefined);
  assert.equal(textAt(3), undefined);
  await settle();
  assert.deepEqual([textAt(1), textAt(3)], ["text 1", null]);
  book.change(changeAt(9, 1, { edited: { text: { body: "better" } } }, MIRA));
  assert.equal(textAt(1), "better");
  book.add(message(7));
  assert.deepEqual([textAt(7), requests.length], ["text 7", 2], "it is in memory");
});
