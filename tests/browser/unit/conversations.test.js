// Conversations: pages merged without a hole, after failed reads too. `sync.test.js` tests catching up.

import assert from "node:assert/strict";
import test from "node:test";
import { Conversations } from "../../../web/conversations.js";
import { compareIds } from "../../../web/ids.js";
import { textOf } from "../../../web/kinds/edited.js";
import { fromWire } from "../../../web/messages.js";
import { changeAt, CHAT, historyOf, idAt, MIRA, wireMessage } from "./fakes.js";

const live = (minutes) => fromWire(wireMessage(minutes));
const minutesOf = (conversations) => conversations.of(CHAT).messages.map(({ body }) => Number(body.slice(5)));

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => from + at);

/** A server with many messages, in pages of a hundred, by every anchor. */
function archiveOf(minutes) {
  return async (chat_id, { before_id, after_id, around_id } = {}) => {
    const below = (id) => {
      let [from, to] = [0, minutes.length];
      while (from < to) {
        const middle = (from + to) >> 1;
        if (compareIds(idAt(minutes[middle]), id) < 0) from = middle + 1;
        else to = middle;
      }
      return from;
    };
    const start =
      around_id !== undefined ? below(around_id) - 50
      : after_id !== undefined ? below(after_id) + 1
      : below(before_id ?? idAt(1e6)) - 100; // prettier-ignore
    const page = minutes.slice(Math.max(start, 0), Math.max(start + 100, 0));
    return {
      messages: historyOf(...page),
      has_older: page.length > 0 && page[0] > minutes[0],
      has_newer: page.length > 0 && page.at(-1) < minutes.at(-1),
    };
  };
}

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
  const server = archiveOf(range(1, 500));
  let release;
  const held = new Promise((resolve) => (release = resolve));
  const conversations = new Conversations(async (chat_id, query = {}) => {
    if (query.before_id) await held;
    return server(chat_id, query);
  });
  await conversations.open(CHAT);
  const older = conversations.loadOlder(CHAT);
  await conversations.open(CHAT, () => idAt(120));
  release();
  await older;
  assert.deepEqual(minutesOf(conversations), range(70, 169));
  assert.equal(conversations.of(CHAT).older, "idle");
});

const edit = (minutes) => changeAt(100, minutes, { edited: { text: { body: "better" } } }, MIRA);

test("a change changes only its message, and one to an unknown message changes nothing", async () => {
  const conversations = new Conversations(serverOf([1, 2]));
  await conversations.open(CHAT);
  const before = conversations.of(CHAT).messages;
  conversations.change(edit(77));
  assert.equal(conversations.of(CHAT).messages, before);
  conversations.change(edit(2));
  assert.equal(conversations.of(CHAT).messages[0], before[0]);
  assert.equal(textOf(conversations.find(CHAT, idAt(2))), "better");
});

test("a change that arrives before its message, or before the archive has it, is not lost", async () => {
  const conversations = new Conversations(serverOf([1, 2, 3, 4]));
  for (const minutes of [1, 3, 5]) conversations.change(edit(minutes));
  await conversations.open(CHAT);
  await conversations.loadOlder(CHAT);
  conversations.add(live(5));
  assert.deepEqual(conversations.of(CHAT).messages.map(textOf), ["better", "text 2", "better", "text 4", "better"]);
});

test("recent changes of 500 messages are kept", async () => {
  const conversations = new Conversations(serverOf([1, 2]));
  for (const minutes of range(1, 501)) conversations.change(edit(minutes));
  await conversations.open(CHAT);
  assert.deepEqual(conversations.of(CHAT).messages.map(textOf), ["text 1", "better"]);
});

test("a chat opens at its first unread message, and reading on reaches the live messages without a hole", async () => {
  const minutes = range(1, 500);
  const conversations = new Conversations(archiveOf(minutes));
  await conversations.open(CHAT, () => idAt(120));
  assert.deepEqual(minutesOf(conversations), range(70, 169));
  conversations.add(live(501));
  conversations.add(live(502));
  assert.deepEqual(minutesOf(conversations), range(70, 169), "they are not adjoining");
  minutes.push(501); // the archive lags
  while (conversations.of(CHAT).hasNewer) await conversations.loadNewer(CHAT);
  assert.deepEqual(minutesOf(conversations), range(70, 502));
  conversations.add(live(503));
  assert.deepEqual(minutesOf(conversations), range(70, 503));
});

test("live messages that history lacks stay while the page shows others", async () => {
  const conversations = new Conversations(archiveOf(range(1, 500)));
  await conversations.open(CHAT);
  for (const minute of [501, 502]) conversations.add(live(minute));
  await conversations.open(CHAT, () => idAt(300));
  assert.deepEqual(minutesOf(conversations), range(250, 349));
  await conversations.open(CHAT);
  assert.deepEqual(minutesOf(conversations), range(401, 502));
});

test("live messages that are too many to wait are loaded with the pages", async () => {
  const minutes = range(1, 300);
  const conversations = new Conversations(archiveOf(minutes));
  await conversations.open(CHAT, () => idAt(60));
  for (const minute of range(301, 500)) conversations.add(live(minute));
  await conversations.loadNewer(CHAT);
  await conversations.loadNewer(CHAT);
  assert.equal(conversations.of(CHAT).hasNewer, true, "the archive does not have them yet");
  minutes.push(...range(301, 500));
  while (conversations.of(CHAT).hasNewer) await conversations.loadNewer(CHAT);
  assert.deepEqual(minutesOf(conversations), range(10, 500));
});

test("going to the newest message, or back to the unread ones, loads what is missing, and nothing else", async () => {
  const requests = [];
  const server = archiveOf(range(1, 500));
  const conversations = new Conversations((chat_id, query) => (requests.push(query), server(chat_id, query)));
  await conversations.open(CHAT, () => idAt(120));
  await conversations.open(CHAT);
  assert.deepEqual(minutesOf(conversations), range(401, 500));
  await conversations.open(CHAT, () => idAt(120));
  assert.deepEqual(minutesOf(conversations), range(70, 169));
  const count = requests.length;
  await conversations.open(CHAT, () => idAt(130));
  assert.equal(requests.length, count);
});

test("a place that is wanted while another page is loading is loaded after it", async () => {
  const conversations = new Conversations(archiveOf(range(1, 1_000)));
  await Promise.all([conversations.open(CHAT), conversations.open(CHAT, () => idAt(200))]);
  assert.deepEqual(minutesOf(conversations), range(150, 249));
});

test("of three places that are wanted one after the other, the last is loaded last", async () => {
  const conversations = new Conversations(archiveOf(range(1, 1_000)));
  const newest = () => conversations.open(CHAT);
  await Promise.all([newest(), conversations.open(CHAT, () => idAt(200)), newest()]);
  assert.deepEqual(minutesOf(conversations), range(901, 1_000));
});

test("of a hundred thousand messages that are scrolled through, two thousand stay in memory", async () => {
  const minutes = range(1, 100_000);
  const conversations = new Conversations(archiveOf(minutes));
  await conversations.open(CHAT);
  for (let page = 0; page < 60; page++) await conversations.loadOlder(CHAT);
  assert.ok(minutesOf(conversations).length <= 2_000);
  assert.deepEqual([minutesOf(conversations)[0], conversations.of(CHAT).hasNewer], [93_901, true]);
  for (let page = 0; page < 70; page++) await conversations.loadNewer(CHAT);
  assert.ok(minutesOf(conversations).length <= 2_000);
  assert.deepEqual([minutesOf(conversations).at(-1), conversations.of(CHAT).hasNewer], [100_000, false]);
});

test("live messages push the oldest out while the reader is at the end, and wait while that is further up", async () => {
  const conversations = new Conversations(archiveOf([1]));
  await conversations.open(CHAT);
  for (const minute of range(2, 2_500)) conversations.add(live(minute));
  assert.ok(minutesOf(conversations).length <= 2_000);
  assert.equal(minutesOf(conversations).at(-1), 2_500);
  conversations.follow(false);
  const [oldest] = minutesOf(conversations);
  for (const minute of range(2_501, 4_600)) conversations.add(live(minute));
  assert.equal(minutesOf(conversations)[0], oldest);
  const newest = minutesOf(conversations).at(-1);
  conversations.add(live(2_400.5));
  assert.ok(minutesOf(conversations).includes(2_400.5));
  assert.equal(minutesOf(conversations).at(-1), newest - 1, "it waits instead");
  assert.ok(conversations.known(CHAT).length <= 2_100);
  assert.equal(conversations.of(CHAT).hasNewer, true);
});

test("a chat that was left keeps its newest messages, and opens again without a request", async () => {
  const requests = [];
  const server = archiveOf(range(1, 500));
  const conversations = new Conversations((chat_id, query) => (requests.push(query), server(chat_id, query)));
  await conversations.open(CHAT);
  await conversations.loadOlder(CHAT);
  conversations.enter("");
  await conversations.open(CHAT);
  assert.deepEqual(minutesOf(conversations), range(401, 500));
  assert.equal(requests.length, 2);
});

test("beside the open chat, however long it has been quiet, the 49 chats that changed last stay in memory", async () => {
  const conversations = new Conversations(serverOf([1]));
  await conversations.open(CHAT);
  const others = range(1, 60).map((other) => `d-8-${100 + other}`);
  for (const chat_id of others) conversations.add({ ...live(2), chat_id });
  const isKnown = (chat_id) => conversations.known(chat_id).length > 0;
  assert.deepEqual([CHAT, ...others].filter(isKnown), [CHAT, ...others.slice(-49)]);
});
