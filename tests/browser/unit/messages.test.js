// Messages: order, duplicates, states, progress and the lines they make.

import assert from "node:assert/strict";
import test from "node:test";
import { emptyChat, withChatChanges } from "../../../web/chats.js";
import { toDays } from "../../../web/days.js";
import { compareIds, firstIdAt, idAbove, idBelow, laterId, timeOfId } from "../../../web/ids.js";
import { progress } from "../../../web/kinds/progress.js";
import { fromEntry, fromWire, merge, withChanges, withLive } from "../../../web/messages.js";
import { ADA, changeAt, CHAT, idAt, markAt, MIRA, wireMessage } from "./fakes.js";

const message = (minutes, options) => fromWire(wireMessage(minutes, options));
const ids = (messages) => messages.map(({ message_id }) => message_id);

test("ids above 2^53 are compared as the numbers that they are", () => {
  assert.ok(compareIds("9223372036854775806", "9223372036854775807") < 0);
  assert.ok(compareIds("99", "100") < 0);
  assert.equal(compareIds("5", "5"), 0);
  assert.equal(laterId("99", "100"), "100");
});

test("a message id carries its time", () => {
  assert.equal(timeOfId(idAt(2)), Date.UTC(2026, 0, 1, 0, 2));
  assert.deepEqual([firstIdAt(Date.UTC(2026, 0, 1, 0, 2)), firstIdAt(0)], [idAt(2), "1"]);
  assert.deepEqual([idBelow("9223372036854775807"), idBelow("1")], ["9223372036854775806", "1"]);
  assert.equal(idAbove("9223372036854775806"), "9223372036854775807");
});

test("merging sorts, and keeps each message once", () => {
  const merged = merge([message(1), message(3)], [message(3), message(2)]);
  assert.deepEqual(ids(merged), [idAt(1), idAt(2), idAt(3)]);
});

test("of two messages with one client_message_id the first accepted stays", () => {
  const twice = merge([message(5, { client_message_id: "x" })], [message(4, { client_message_id: "x" })]);
  assert.deepEqual(ids(twice), [idAt(4)]);
});

test("the same client_message_id of another sender is another message", () => {
  assert.equal(
    merge([message(1, { client_message_id: "x" })], [message(2, { client_message_id: "x", sender_id: ADA })]).length,
    2,
  );
});

test("a message has the changes of both lists, since each may lack some, and a replayed event removes none", () => {
  const [early, late] = ["👍", "🔥"].map((emoji, at) => changeAt(5 + at, 1, { reacted: { emoji, set: true } }));
  const live = withChanges(message(1), [late]);
  const [merged] = merge([live], [withChanges(message(1), [early])]);
  assert.deepEqual([...merged.changes.values()].map(({ event_id }) => event_id).sort(), [idAt(5), idAt(6)].sort());
  assert.equal(withLive([live], message(1))[0], live);
});

test("a message is read once the other member has read up to it, not the author", () => {
  const own = message(5, { sender_id: ADA });
  const progressAt = (...marks) =>
    progress(own, withChatChanges(emptyChat(CHAT, [ADA, MIRA]), marks, ADA, { messages: [] }), ADA, []);
  assert.equal(progressAt(), "sent");
  assert.equal(progressAt(markAt(9, MIRA, { delivered_up_to: idAt(5), read_up_to: idAt(4) })), "delivered");
  assert.equal(progressAt(markAt(9, MIRA, { delivered_up_to: idAt(4), read_up_to: idAt(5) })), "read");
  assert.equal(progressAt(markAt(9, ADA, { read_up_to: idAt(9) })), "sent");
});

test("a message of a group is read once all present members have read it who were members when it was sent", () => {
  const BEN = "12";
  const own = message(5, { sender_id: ADA });
  const member = (user_id, first, last) => ({ user_id, spans: [{ first: idAt(first), ...(last && { last: idAt(last) }) }] });
  const known = [member(ADA, 1), member(MIRA, 1), member(BEN, 1, 3)];
  const progressAt = (members, marks, group = {}) => {
    const events = Object.entries(marks).map(([user_id, mark]) => markAt(9, user_id, mark));
    const chat = { ...emptyChat("g-5", []), group: { settings: { name: "Team" }, member_count: members.length, ...group } };
    return progress(own, withChatChanges(chat, events, ADA, { messages: [] }), ADA, members);
  };
  const mira = { [MIRA]: { delivered_up_to: idAt(6), read_up_to: idAt(5) } };
  assert.equal(progressAt(known, {}), "sent");
  assert.equal(progressAt(known, mira), "read", "Ben had left");
  assert.equal(progressAt(known, mira, { member_count: 100 }), "read");
  for (const group of [{ member_count: 101 }, { settings: { name: "News", is_channel: true } }])
    assert.equal(progressAt(known, mira, group), "sent", "others' marks do not arrive there");
  assert.equal(progressAt([], mira), "sent", "the members are not loaded");
  assert.equal(progressAt([member(ADA, 1), member(BEN, 6)], mira), "sent", "nobody was there to read it");

  const back = { ...member(BEN, 1, 3), spans: [...member(BEN, 1, 3).spans, { first: idAt(4) }] };
  const all = [member(ADA, 1), member(MIRA, 1), back, member("13", 6)];
  assert.equal(progressAt(all, mira), "sent");
  const delivered = { ...mira, [BEN]: { delivered_up_to: idAt(5) } };
  assert.equal(progressAt(all, delivered), "delivered");
  assert.equal(progressAt(all, delivered, { member_count: 33 }), "sent", "only how far they have read arrives there");
  assert.equal(progressAt(all, { ...mira, [BEN]: { read_up_to: idAt(6) } }), "read", "the other member came later");
});

const daysOf = (messages, unreadKey = "", start = 0, end = messages.length) =>
  toDays(messages, ADA, { start, end, unreadKey });
const rowsOf = (...given) => daysOf(...given).flatMap(({ rows }) => rows);

test("a day has its messages in runs by author and pause, each with a first and a last message", () => {
  const messages = [0, 1, 20].map((minute) => message(minute));
  const days = daysOf([...messages, message(21, { sender_id: ADA }), message(22, { sender_id: ADA }), message(1462)]);
  assert.deepEqual(
    days.map(({ rows }) => rows.map(({ first, last }) => [first, last].map(Number).join(""))),
    [["10", "01", "11", "10", "01"], ["11"]],
  );
});

test("a day keeps its key when older messages of it appear", () => {
  const messages = [1, 2, 3].map((minute) => message(minute));
  assert.equal(daysOf(messages)[0].key, daysOf(messages, "", 2)[0].key);
});

test("a part of the rows looks as it does among all of them", () => {
  const messages = [1, 2, 3, 4].map((minute) => message(minute));
  assert.deepEqual(rowsOf(messages, "", 1, 3), rowsOf(messages).slice(1, 3));
});

test("the unread mark is above the first unread message", () => {
  const messages = [message(1), message(2, { sender_id: ADA }), message(3), message(4)];
  const rows = rowsOf(messages, messages[2].key);
  assert.deepEqual(
    rows.map(({ kind }) => kind),
    ["message", "message", "unread", "message", "message"],
  );
});

test("row keys are unique, and a message keeps its key when it is accepted", () => {
  const entry = { client_id: "x", chat_id: CHAT, body: "hi", created_ms: 0, state: "pending", error: "" };
  const accepted = fromWire(wireMessage(9, { sender_id: ADA, client_message_id: "x" }));
  assert.equal(fromEntry(entry, ADA).key, accepted.key);
  const days = daysOf([message(1), accepted, message(2000), message(3)]);
  const keys = days.flatMap(({ key, rows }) => [key, ...rows.map((row) => row.key)]);
  assert.equal(new Set(keys).size, keys.length);
});
