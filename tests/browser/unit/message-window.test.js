// The part of the messages that is on the page.

import assert from "node:assert/strict";
import test from "node:test";
import { emptyChat } from "../../../web/chats.js";
import { fromWire, withChanges } from "../../../web/messages.js";
import { firstUnread, MAX_ROWS, Part, readOverHidden } from "../../../web/message-window.js";
import { ADA, changeAt, CHAT, idAt, wireMessage } from "./fakes.js";

const range = (from, to) => Array.from({ length: to - from }, (_, at) => ({ key: `${from + at}` }));
const numbers = (part, messages) => [messages[part.start], messages[part.end - 1]].map(({ key }) => Number(key));

function opened(messages, unread = -1) {
  const part = new Part();
  part.open(messages, unread);
  return part;
}

test("a chat opens at its end, or around its first unread message", () => {
  const messages = range(0, 1_000);
  assert.deepEqual(numbers(opened(messages), messages), [950, 999]);
  assert.deepEqual(numbers(opened(messages, 300), messages), [250, 399]);
  assert.deepEqual(numbers(opened(messages, 3), messages), [0, 102]);
});

test("the first unread message is the first one of another user above the mark", () => {
  const messages = [1, 2, 3, 4].map((minute) => fromWire(wireMessage(minute, minute === 2 ? { sender_id: ADA } : {})));
  const chat = emptyChat(CHAT, []);
  assert.deepEqual([1, 4].map((minute) => firstUnread(messages, chat, ADA, idAt(minute))), [2, -1]);
});

test("reading goes on over hidden messages, up to the next one of another user", () => {
  const hidden = (target) => changeAt(20, target, { hidden: { set: true } });
  const isHidden = (minute) => [2, 4, 6].includes(minute);
  const of = (minute) => fromWire(wireMessage(minute, minute === 5 ? { sender_id: ADA } : {}));
  const messages = [1, 2, 3, 4, 5, 6, 7].map((minute) => withChanges(of(minute), isHidden(minute) ? [hidden(minute)] : []));
  const read = (minute) => readOverHidden(messages, emptyChat(CHAT, []), ADA, idAt(minute));
  assert.deepEqual([0, 1, 2, 3, 4, 7, 9].map(read), [0, 2, 2, 6, 6, 7, 9].map(idAt));
});

test("the same messages stay when others are loaded above and below", () => {
  const part = opened(range(100, 200), 50);
  part.follow(range(100, 200), false);
  assert.deepEqual([part.start, part.end, part.isAtEnd], [0, 100, true]);
  const inside = opened(range(0, 1_000), 300);
  inside.follow(range(-50, 1_050), false);
  assert.deepEqual(numbers(inside, range(-50, 1_050)), [250, 399]);
});

test("new messages come onto the page at the end; old ones leave it, but not those in view", () => {
  let count = 50;
  const part = opened(range(0, count));
  for (; count < 1_000; count++) {
    part.follow(range(0, count + 1), true);
    assert.ok(part.end - part.start <= 80);
    assert.equal(part.end, count + 1);
  }
  const reader = opened(range(0, 50));
  reader.follow(range(0, 500), false);
  assert.deepEqual([reader.start, reader.end, reader.isAtEnd], [0, MAX_ROWS, false]);
});

test("it grows near an edge, and shrinks at the other one", () => {
  const messages = range(0, 1_000);
  const part = opened(messages);
  const steps = [];
  const grow = (near) => {
    if (!part.canGrow(messages.length, near)) return false;
    part.grow(messages, near, false);
    return true;
  };
  while (grow({ top: true, end: false })) steps.push(numbers(part, messages));
  assert.deepEqual(steps.slice(0, 4), [
    [900, 999],
    [850, 999],
    [800, 999],
    [750, 949],
  ]);
  assert.deepEqual(steps.at(-1), [0, 199]);
  while (grow({ top: false, end: true }));
  assert.deepEqual(numbers(part, messages), [800, 999]);
});

test("a high window at the end keeps as many messages as it once needed", () => {
  const part = opened(range(0, 500));
  part.grow(range(0, 500), { top: true, end: false }, true);
  for (let count = 501; count < 600; count++) {
    part.follow(range(0, count), true);
    assert.ok(part.end - part.start >= 100 && part.end - part.start <= 130);
  }
});

test("messages that were replaced by others leave the end of the others", () => {
  const part = opened(range(0, 100));
  part.follow(range(5_000, 5_300), false);
  assert.deepEqual([part.start, part.end], [250, 300]);
});

test("going to the end shows it without the messages between", () => {
  const messages = range(0, 1_000);
  const part = opened(messages, 300);
  part.toEnd(messages);
  assert.deepEqual([...numbers(part, messages), part.isAtEnd], [900, 999, true]);
});
