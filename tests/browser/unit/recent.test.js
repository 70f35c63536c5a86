// Copies of the newest chats in this browser: copied, restored, and deleted chats.

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { marksOf } from "../../../web/kinds/marked.js";
import { Chats } from "../../../web/stores/chats.js";
import { Recent } from "../../../web/stores/recent.js";
import { ADA, CHAT, fakeCopies, historyOf, idAt, markAt, MIRA, settle } from "./fakes.js";

const ME = { user_id: ADA, name: "ada", display_name: "Ada", about: "" };
const PROFILE = { user_id: MIRA, name: "mira", display_name: "Mira", about: "" };
const away = async () => assert.fail("no connection");

/** The answers of a server with one chat; `null` for none. */
function fakeApi(minutes) {
  const chat = { chat_id: CHAT, member_ids: [MIRA, ADA], newest: historyOf(minutes.at(-1))[0], unread: minutes.length };
  return {
    chats: async () => ({ chats: [chat] }),
    messages: async () => ({ messages: historyOf(...minutes), has_older: true }),
    changes: async () => ({ too_old: true }),
    profiles: async () => ({ profiles: [PROFILE] }),
  };
}

const AWAY = { chats: away, messages: away, changes: away, profiles: away };

async function opened(api, copies, isSignedIn = () => true) {
  const chats = new Chats(api, ME);
  const recent = new Recent(chats, copies, isSignedIn);
  await recent.start();
  return { chats, recent };
}

async function copied(minutes, isSignedIn) {
  const copies = fakeCopies();
  const { chats, recent } = await opened(fakeApi(minutes), Promise.resolve(copies), isSignedIn);
  await chats.load();
  chats.open(CHAT);
  chats.partner(CHAT);
  await settle();
  await recent.save();
  return { chats, recent, copies };
}

test("without a connection the chats, the people and the messages that were loaded are there", async () => {
  const { copies } = await copied([1, 2, 3]);
  const { chats } = await opened(AWAY, Promise.resolve(copies));
  await chats.load();
  chats.open(CHAT);
  await settle();
  assert.deepEqual([chats.phase, chats.isStored, chats.all.map(({ chat_id }) => chat_id)], ["failed", true, [CHAT]]);
  assert.equal(chats.partner(CHAT)?.display_name, "Mira");
  const { messages, isStored } = chats.conversations.of(CHAT);
  assert.deepEqual([messages.map(({ body }) => body), isStored], [["text 1", "text 2", "text 3"], true]);
});

test("the people of the copies are shown at once, and read again, once, when they are shown", async () => {
  const { copies } = await copied([1]);
  const requests = [];
  const renamed = { ...PROFILE, display_name: "Mira Okafor" };
  const profiles = async (user_ids) => (requests.push(user_ids), { profiles: [renamed] });
  const { chats, recent } = await opened({ ...fakeApi([1]), profiles }, Promise.resolve(copies));
  await settle();
  assert.deepEqual(requests, [], "nothing shows them yet");
  assert.deepEqual([chats.titleOf(CHAT), chats.titleOf(CHAT)], ["Mira", "Mira"]);
  await settle();
  assert.deepEqual([chats.titleOf(CHAT), requests], ["Mira Okafor", [[MIRA]]]);
  await recent.save();
  assert.equal(copies.rows.get(CHAT).profiles[0].display_name, "Mira Okafor");
});

test("the user's own profile is not replaced by a copy", async () => {
  const { copies } = await copied([1]);
  copies.rows.get(CHAT).profiles.push({ ...ME, display_name: "Former" });
  const { chats } = await opened(AWAY, Promise.resolve(copies));
  assert.equal(chats.profiles.get(ADA)?.display_name, "Ada");
});

test("of a chat that was not opened the newest message is there", async () => {
  const copies = fakeCopies();
  const { chats, recent } = await opened(fakeApi([1, 2]), Promise.resolve(copies));
  await chats.load();
  await recent.save();
  assert.deepEqual(copies.rows.get(CHAT).messages.map(({ body }) => body), ["text 2"]);
});

test("the server's messages and counts replace the copies", async () => {
  const { copies } = await copied([1, 2]);
  const { chats } = await opened(fakeApi([1, 2, 5, 6]), Promise.resolve(copies));
  chats.change(markAt(9, ADA, { read_up_to: idAt(3) }));
  await chats.load();
  assert.deepEqual([chats.isStored, chats.of(CHAT).unread], [false, 2]);
  chats.open(CHAT);
  await settle();
  const { messages, isStored } = chats.conversations.of(CHAT);
  assert.deepEqual([messages.map(({ body }) => body), isStored], [["text 1", "text 2", "text 5", "text 6"], false]);
});

test("of each chat the last 50 messages are copied, with at most 100,000 characters", async () => {
  const minutes = Array.from({ length: 70 }, (_, at) => at + 1);
  const { copies, chats, recent } = await copied(minutes);
  const bodies = () => copies.rows.get(CHAT).messages.map(({ body }) => body);
  assert.deepEqual(bodies(), minutes.slice(20).map((minute) => `text ${minute}`));
  for (const minute of [71, 72, 73]) {
    const message = { ...chats.of(CHAT).newest, key: `${minute}`, message_id: idAt(minute) };
    chats.add({ ...message, body: "x".repeat(40_000) });
  }
  await recent.save();
  assert.deepEqual(bodies().map(({ length }) => length), [40_000, 40_000]);
});

test("a change is copied two seconds later, with all others until then", async (context) => {
  const { copies, chats } = await copied([1]);
  mock.timers.enable({ apis: ["setTimeout"] });
  context.after(() => mock.timers.reset());
  const written = mock.method(copies, "write");
  for (const read_up_to of [idAt(0), idAt(1)]) chats.change(markAt(9, MIRA, { read_up_to }));
  mock.timers.tick(1_999);
  assert.equal(written.mock.callCount(), 0);
  mock.timers.tick(1);
  await settle();
  assert.deepEqual([written.mock.callCount(), marksOf(copies.rows.get(CHAT).chat, MIRA).read_up_to], [1, idAt(1)]);
});

test("nothing is copied after a sign-out in another tab, and the end of the sign-in deletes all", async () => {
  let isSignedIn = true;
  const { copies, chats, recent } = await copied([1], () => isSignedIn);
  copies.rows.clear();
  isSignedIn = false;
  chats.change(markAt(9, MIRA, { read_up_to: idAt(1) }));
  await recent.save();
  assert.equal(copies.rows.size, 0);
  copies.rows.set("another chat", {});
  await recent.stop();
  assert.equal(copies.rows.size, 0);
});

test("chats that are not among the newest 50 any more leave the copies", async () => {
  const { copies, chats, recent } = await copied([1]);
  const newest = chats.of(CHAT).newest;
  for (let other = 100; other < 150; other++)
    chats.add({ ...newest, key: `${other}`, chat_id: `d-11-${other}`, message_id: idAt(other) });
  await recent.save();
  assert.deepEqual([copies.rows.size, copies.rows.has(CHAT)], [50, false]);
});

test("without a database, or with values of another version, the page works as before", async () => {
  const broken = new Map([["a", null], ["b", { chat: 1 }], ["c", { chat: { chat_id: "c", member_ids: [] }, messages: [1] }]]);
  for (const copies of [Promise.reject(new Error("blocked")), Promise.resolve(fakeCopies(broken))]) {
    const { chats, recent } = await opened(fakeApi([1]), copies);
    assert.deepEqual(chats.all, []);
    await chats.load();
    await recent.save();
    assert.equal(chats.all.length, 1);
  }
});
