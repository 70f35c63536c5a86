// Conversations: pages merged without a hole, after missed messages and failed reads.

import assert from "node:assert/strict";
import test from "node:test";
import { Conversations } from "../../../web/conversations.js";
import { fromWire } from "../../../web/messages.js";
import { CHAT, historyOf, idAt, wireMessage } from "./fakes.js";

const live = (minutes) => fromWire(wireMessage(minutes));
const minutesOf = (conversations) => conversations.of(CHAT).messages.map(({ body }) => Number(body.slice(5)));

/** A server with messages of these minutes, in pages of three; `requests` records its requests. */
function serverOf(minutes, requests = []) {
  return async (chat_id, anchor = {}) => {
    requests.push(anchor);
    const [from, until] = [
      minutes.findIndex((minute) => idAt(minute) === anchor.after_id) + 1,
      minutes.findIndex((minute) => idAt(minute) === anchor.before_id),
    ];
    if (anchor.after_id)
      return {
        messages: historyOf(...minutes.slice(from, from + 3)),
        has_newer: from + 3 < minutes.length,
        has_older: true,
      };
    const end = anchor.before_id ? until : minutes.length;
    return { messages: historyOf(...minutes.slice(Math.max(end - 3, 0), end)), has_older: end > 3 };
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
  const done = conversations.catchUp(CHAT);
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
  await assert.rejects(conversations.catchUp(CHAT));
  conversations.add(live(8));
  fails = false;
  await conversations.catchUp(CHAT);
  assert.deepEqual(minutesOf(conversations), [1, 2, 3, 4, 5, 6, 7, 8]);
});

test("an archive that lags is read again from before the hole", async () => {
  const minutes = [1, 2, 3];
  const conversations = new Conversations(serverOf(minutes));
  await conversations.open(CHAT);
  const first = conversations.catchUp(CHAT);
  conversations.add(live(12));
  await first;
  minutes.push(4, 5, 6, 7, 8, 9, 10, 11, 12);
  await conversations.catchUp(CHAT);
  conversations.caughtUp();
  assert.deepEqual(minutesOf(conversations), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
});

test("after too many missed messages only the newest page is left, with more above it", async () => {
  const minutes = [1, 2, 3];
  const conversations = new Conversations(serverOf(minutes));
  await conversations.open(CHAT);
  for (let minute = 4; minute <= 40; minute++) minutes.push(minute);
  await conversations.catchUp(CHAT);
  assert.deepEqual(minutesOf(conversations), [38, 39, 40]);
  assert.equal(conversations.of(CHAT).hasOlder, true);
});

test("after missed events other chats are dropped, and loaded when they are opened", async () => {
  const conversations = new Conversations(serverOf([1]));
  conversations.add(live(9));
  await conversations.catchUp("");
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
