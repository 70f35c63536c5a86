// Conversations: pages merged without a hole, after missed messages and failed reads.

import assert from "node:assert/strict";
import test from "node:test";
import { Conversations } from "../../../web/conversations.js";
import { compareIds, fromWire, timeOfId } from "../../../web/messages.js";
import { CHAT, historyOf, idAt, wireMessage } from "./fakes.js";

const live = (minutes) => fromWire(wireMessage(minutes));
const minutesOf = (conversations) => conversations.of(CHAT).messages.map(({ body }) => Number(body.slice(5)));

const timeOf = (minute) => timeOfId(idAt(minute));

/** A server with messages of these minutes, in pages of three; `requests` records its requests. */
function serverOf(minutes, requests = []) {
  return async (chat_id, query = {}) => {
    requests.push(query);
    const older = minutes.filter((minute) => !query.before_id || compareIds(idAt(minute), query.before_id) < 0);
    return { messages: historyOf(...older.slice(-3)), has_older: older.length > 3 };
  };
}

test("opening loads the newest page, and scrolling up the pages before, once each", async () => {
  const conversations = new Conversations(serverOf([1, 2, 3, 4, 5]));
  await Promise.all([conversations.open(CHAT), conversations.open(CHAT)]);
  assert.deepEqual(minutesOf(conversations), [3, 4, 5]);
  await Promise.all([conversations.loadOlder(CHAT), conversations.loadOlder(CHAT)]);
  assert.deepEqual(minutesOf(conversations), [1, 2, 3, 4, 5]);
  assert.equal(conversations.of(CHAT).hasOlder, false);
});

test("a live message that arrived before the chat was opened stays, even if the archive lacks it", async () => {
  const conversations = new Conversations(serverOf([1, 2]));
  conversations.add(live(3));
  await conversations.open(CHAT);
  assert.deepEqual(minutesOf(conversations), [1, 2, 3]);
});

test("a page that failed to load can be requested again", async () => {
  const answers = [Promise.reject(new Error("no answer")), serverOf([1])(CHAT)];
  const conversations = new Conversations(() => answers.shift());
  await conversations.open(CHAT);
  assert.equal(conversations.of(CHAT).phase, "failed");
  await conversations.openAgain(CHAT);
  assert.deepEqual(minutesOf(conversations), [1]);
});

test("catching up closes the hole between the loaded and the later messages", async () => {
  const minutes = [1, 2, 3];
  const conversations = new Conversations(serverOf(minutes));
  await conversations.open(CHAT);
  minutes.push(4, 5, 6, 7, 8, 9);
  const done = conversations.catchUp(CHAT, timeOf(3));
  conversations.add(live(9));
  await done;
  assert.deepEqual(minutesOf(conversations), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("catching up that failed starts again from before the hole", async () => {
  const minutes = [1, 2, 3];
  const server = serverOf(minutes);
  let fails = false;
  const conversations = new Conversations(async (...question) => {
    if (fails) throw new Error("no answer");
    return server(...question);
  });
  await conversations.open(CHAT);
  fails = true;
  minutes.push(4, 5, 6, 7, 8);
  await assert.rejects(conversations.catchUp(CHAT, timeOf(3)));
  conversations.add(live(8));
  fails = false;
  await conversations.catchUp(CHAT, timeOf(3));
  assert.deepEqual(minutesOf(conversations), [1, 2, 3, 4, 5, 6, 7, 8]);
});

test("an archive that lags is read again from before the hole", async () => {
  const minutes = [1, 2, 3];
  const conversations = new Conversations(serverOf(minutes));
  await conversations.open(CHAT);
  const first = conversations.catchUp(CHAT, timeOf(3));
  conversations.add(live(12));
  await first;
  minutes.push(4, 5, 6, 7, 8, 9, 10, 11, 12);
  await conversations.catchUp(CHAT, timeOf(3));
  assert.deepEqual(minutesOf(conversations), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
});

test("an own message that was accepted behind missed ones, or a live one, does not hide them", async () => {
  const minutes = [1, 2];
  const conversations = new Conversations(serverOf(minutes));
  await conversations.open(CHAT);
  minutes.push(3, 4, 5, 6, 7, 8, 9, 10);
  conversations.add(live(10));
  await conversations.catchUp(CHAT, timeOf(2));
  assert.deepEqual(minutesOf(conversations), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test("a message that was accepted under an id below the newest known one is found", async () => {
  const minutes = [1, 2, 4, 5, 6];
  const conversations = new Conversations(serverOf(minutes));
  await conversations.open(CHAT);
  minutes.splice(2, 0, 3);
  minutes.push(7);
  await conversations.catchUp(CHAT, timeOf(2));
  assert.deepEqual(minutesOf(conversations), [1, 2, 3, 4, 5, 6, 7]);
});

test("catching up takes one request while nothing is missing", async () => {
  const requests = [];
  const conversations = new Conversations(serverOf([1, 2, 20, 21, 22], requests));
  await conversations.open(CHAT);
  await conversations.catchUp(CHAT, timeOf(21));
  assert.deepEqual(requests, [{}, { limit: "100" }]);
});

test("after too many missed messages the read pages are left, with more above them", async () => {
  const minutes = [1, 2, 3];
  const conversations = new Conversations(serverOf(minutes));
  await conversations.open(CHAT);
  for (let minute = 4; minute <= 40; minute++) minutes.push(minute);
  const done = conversations.catchUp(CHAT, timeOf(3));
  conversations.add(live(41));
  await done;
  const expected = Array.from({ length: 16 }, (_, index) => 26 + index);
  assert.deepEqual(minutesOf(conversations), expected);
  assert.equal(conversations.of(CHAT).hasOlder, true);
  await conversations.loadOlder(CHAT);
  assert.deepEqual(minutesOf(conversations), [23, 24, 25, ...expected]);
});

test("a live message older than the loaded pages comes with its own page, so that none is skipped", async () => {
  const minutes = [1, 2, 3, 4, 5, 6, 7];
  const conversations = new Conversations(serverOf(minutes));
  conversations.add(live(1));
  await conversations.open(CHAT);
  conversations.add(live(1));
  assert.deepEqual(minutesOf(conversations), [5, 6, 7]);
  await conversations.loadOlder(CHAT);
  await conversations.loadOlder(CHAT);
  assert.deepEqual(minutesOf(conversations), minutes);
});

test("an older page that does not adjoin the messages any more when it arrives is not shown", async () => {
  const minutes = [1, 2, 3, 4, 5];
  const server = serverOf(minutes);
  let release;
  const held = new Promise((resolve) => (release = resolve));
  const conversations = new Conversations(async (chat_id, query = {}) => {
    if (query.before_id && !query.limit) await held;
    return server(chat_id, query);
  });
  await conversations.open(CHAT);
  const older = conversations.loadOlder(CHAT);
  for (let minute = 6; minute <= 40; minute++) minutes.push(minute);
  await conversations.catchUp(CHAT, timeOf(5));
  release();
  await older;
  assert.deepEqual(minutesOf(conversations), minutes.slice(-15));
  assert.equal(conversations.of(CHAT).older, "idle");
});

test("after missed events other chats are dropped, and loaded when they are opened", async () => {
  const conversations = new Conversations(serverOf([1]));
  conversations.add(live(9));
  await conversations.catchUp("", timeOf(9));
  assert.deepEqual(minutesOf(conversations), []);
});

test("a reaction changes only its message, and one to an unknown message changes nothing", async () => {
  const conversations = new Conversations(serverOf([1, 2]));
  await conversations.open(CHAT);
  const [untouched] = conversations.of(CHAT).messages;
  conversations.react({ chat_id: CHAT, message_id: idAt(2), user_id: "11", emoji: "👀", set: true });
  conversations.react({ chat_id: CHAT, message_id: idAt(77), user_id: "11", emoji: "👀", set: true });
  assert.equal(conversations.of(CHAT).messages[0], untouched);
  assert.deepEqual(conversations.of(CHAT).messages[1].reactions, [{ emoji: "👀", user_ids: ["11"] }]);
});
