// The outbox: order, one message of a chat at a time, retries with the same id, and reloads.

import assert from "node:assert/strict";
import test, { mock } from "node:test";
import { Drafts, MAX_DRAFTS, MAX_LENGTH } from "../../../web/drafts.js";
import { fromEntry } from "../../../web/messages.js";
import { Outbox } from "../../../web/outbox.js";
import { Kept } from "../../../web/stores/kept.js";
import { CHAT, fakeChannels, fakeDatabase } from "./fakes.js";

const dueIn = (outbox, now_ms = 1_000) => outbox.due(now_ms).due.map(({ body }) => body);

const opened = async (database) => new Outbox(await Kept.open(async () => database));

async function filled(...bodies) {
  const database = fakeDatabase();
  const outbox = await opened(database);
  for (const [at, body] of bodies.entries()) await outbox.add(CHAT, { body, reply_to: "" }, at);
  return { database, outbox, ids: outbox.of(CHAT).map(({ client_id }) => client_id) };
}

test("one message of a chat is in flight at a time, in the order of writing", async () => {
  const { outbox, ids } = await filled("one", "two");
  assert.deepEqual(dueIn(outbox), ["one"]);
  outbox.sent(ids[0], 1_000);
  assert.deepEqual(dueIn(outbox), []);
  outbox.remove(ids[0]);
  assert.deepEqual(dueIn(outbox), ["two"]);
});

test("a forwarded message keeps its label and its mentions over a reload, and one of an older page has none", async () => {
  const { database, outbox } = await filled("old");
  const mentions = [{ user_id: "7", name: "mira" }];
  await outbox.add(CHAT, { body: "@mira", mentions, forwarded: true, reply_to: "" }, 5);
  const kept = (await opened(database)).of(CHAT).map((entry) => fromEntry(entry, "11"));
  assert.deepEqual(kept.map((message) => [message.forwarded, message.mentions]), [[false, []], [true, mentions]]);
});

test("another chat does not wait", async () => {
  const { outbox, ids } = await filled("one");
  outbox.sent(ids[0], 1_000);
  await outbox.add("d-1-2", { body: "elsewhere", reply_to: "" }, 5);
  assert.deepEqual(dueIn(outbox), ["elsewhere"]);
});

test("after a lost session the same id is sent again", async () => {
  const { outbox, ids } = await filled("one");
  outbox.sent(ids[0], 1_000);
  outbox.sessionLost();
  assert.deepEqual(
    outbox.due(1_000).due.map(({ client_id }) => client_id),
    [ids[0]],
  );
});

test("a message tells how long ago it was first sent, also after a reload", async () => {
  const { database, outbox, ids } = await filled("one", "two");
  assert.equal(outbox.firstSentMsAgo(ids[0], 1_000), 0);
  outbox.sent(ids[0], 1_000);
  outbox.sessionLost();
  outbox.sent(ids[0], 5_000);
  const again = await opened(database);
  assert.equal(again.firstSentMsAgo(ids[0], 400_000), 399_000);
  assert.equal(again.firstSentMsAgo(ids[0], 0), 2 ** 32 - 1, "the clock was set back");
  assert.equal(again.firstSentMsAgo(ids[1], 400_000), 399_999, "the page may have ended while it was sent");
});

test("a retryable refusal is retried after its pause, and shown after the sixth", async () => {
  const { outbox, ids } = await filled("one", "two");
  const refused = { code: "unavailable", message: "Not now", retryable: true, retry_after_ms: 9_000 };
  outbox.refused(ids[0], refused, 1_000);
  assert.deepEqual(outbox.due(9_999), { due: [], next_ms: 10_000 });
  assert.deepEqual(dueIn(outbox, 10_000), ["one"]);
  for (let attempt = 0; attempt < 5; attempt++) outbox.refused(ids[0], refused, 1_000);
  assert.equal(outbox.get(ids[0]).state, "failed");
  assert.deepEqual(dueIn(outbox), ["two"]);
});

test("a final refusal fails at once with its reason, and can be retried in its place", async () => {
  const { outbox, ids } = await filled("one", "two");
  outbox.refused(ids[0], { code: "malformed", message: "Too long" }, 1_000);
  assert.equal(outbox.get(ids[0]).error, "Too long");
  outbox.retry(ids[0]);
  assert.deepEqual(
    outbox.of(CHAT).map(({ body, state }) => [body, state]),
    [
      ["one", "pending"],
      ["two", "pending"],
    ],
  );
  assert.deepEqual(dueIn(outbox), ["one"]);
});

test("pending and failed messages survive a reload, in order", async () => {
  const { database, outbox, ids } = await filled("one", "two", "three");
  outbox.sent(ids[0], 1_000);
  outbox.refused(ids[1], { code: "forbidden", message: "No" }, 1_000);
  const again = await opened(database);
  assert.deepEqual(
    again.of(CHAT).map(({ body, state }) => [body, state]),
    [
      ["one", "pending"],
      ["two", "failed"],
      ["three", "pending"],
    ],
  );
  assert.equal(again.of(CHAT)[0].client_id, ids[0]);
});

test("an accepted or discarded message is not kept any more", async () => {
  const { database, outbox, ids } = await filled("one", "two");
  outbox.remove(ids[0]);
  assert.deepEqual(
    [...database.rows.values()].map(([, id]) => id),
    [ids[1]],
  );
});

test("a message is sent only once it is kept", async () => {
  const { database, outbox } = await filled();
  database.full = true;
  const added = outbox.add(CHAT, { body: "one", reply_to: "" }, 1);
  assert.deepEqual(dueIn(outbox), []);
  await added;
  assert.deepEqual(dueIn(outbox), ["one"]);
});

test("a kept value that is no message of the outbox is left alone", async () => {
  const { database } = await filled("one");
  for (const [at, value] of ["{", null, 7, { body: "no id" }].entries())
    await database.put("outbox", `corrupt ${at}`, value);
  const again = await opened(database);
  assert.deepEqual(dueIn(again), ["one"]);
  assert.equal(again.size, 1);
});

test("a draft that became a message just before the page closed is not offered again", async () => {
  const { database, outbox } = await filled("one");
  await outbox.add("d-1-3", { body: "", reply_to: "", files: [{ client_file_id: "b" }] }, 1);
  await database.put("draft", CHAT, "one\n");
  await database.put("draft", "d-1-2", "another");
  const pictures = { text: "", reply_to: "5", editing: null, files: [{ client_file_id: "a" }] };
  await database.put("draft", "d-1-3", pictures);
  const kept = await Kept.open(async () => database);
  const drafts = new Drafts(kept, new Outbox(kept));
  assert.deepEqual([drafts.get(CHAT).text, drafts.get("d-1-2").text], ["", "another"]);
  assert.deepEqual(drafts.get("d-1-3"), pictures, "of another message than the waiting one without a text");
});

test("messages of a chat are kept one after the other, and one that fails does not hold up the next", async () => {
  const kept = await Kept.open(async () => fakeDatabase());
  const drafts = new Drafts(kept, new Outbox(kept));
  const done = [];
  const failing = drafts.keepNext(CHAT, async () => {
    done.push("first");
    throw new Error("no voice");
  });
  const next = drafts.keepNext(CHAT, async () => void done.push("second"));
  await assert.rejects(failing, /no voice/);
  await next;
  assert.deepEqual(done, ["first", "second"]);
});

test("of too many drafts the one that changed longest ago is dropped, of a long one the end", async () => {
  const kept = await Kept.open(async () => fakeDatabase());
  const drafts = new Drafts(kept, new Outbox(kept));
  for (let chat = 1; chat <= MAX_DRAFTS; chat++) drafts.keep(`d-1-${chat}`, { text: "x" });
  drafts.keep("d-1-1", { text: "y".repeat(MAX_LENGTH + 1) });
  drafts.keep("d-2-1", { text: "one more" });
  assert.deepEqual([drafts.chats.length, drafts.get("d-1-1").text.length], [MAX_DRAFTS, MAX_LENGTH]);
  assert.deepEqual([drafts.get("d-1-2").text, drafts.get("d-1-3").text], ["", "x"]);
});

test("a draft keeps the message that it replies to, and the edit of a message beside it, across a reload", async () => {
  const database = fakeDatabase();
  const openDrafts = async () => {
    const kept = await Kept.open(async () => database);
    return new Drafts(kept, new Outbox(kept));
  };
  const drafts = await openDrafts();
  const editing = { message_id: "7", text: "better" };
  drafts.keep(CHAT, { text: "half a thou" });
  drafts.keep(CHAT, { reply_to: "5" });
  drafts.keep(CHAT, { editing });
  assert.deepEqual((await openDrafts()).get(CHAT), { text: "half a thou", reply_to: "5", editing, files: [] });
  drafts.keep(CHAT, { reply_to: "", editing: null });
  assert.deepEqual([...database.rows.values()], [["draft", CHAT, "half a thou"]]);
});

test("a message that an earlier version of the page kept is sent", async () => {
  const { database } = await filled();
  const entry = { client_message_id: "c1", chat_id: CHAT, body: "old", created_ms: 1, state: "pending", error: "" };
  await database.put("outbox", "c1", entry);
  const { due } = (await opened(database)).due(1_000);
  assert.deepEqual(due.map(({ client_id, body }) => [client_id, body]), [["c1", "old"]]);
});

/** The outboxes of two tabs of a browser, over one database. Time is mocked. */
async function twoOutboxes(context) {
  mock.timers.enable({ apis: ["setInterval", "Date"] });
  const database = fakeDatabase();
  const [a, b] = [await opened(database), await opened(database)];
  const { ends, cross } = fakeChannels();
  const [closesA, closesB] = [new AbortController(), new AbortController()];
  a.share(ends[0], closesA.signal);
  b.share(ends[1], closesB.signal);
  context.after(() => {
    for (const each of [closesA, closesB]) each.abort();
    mock.timers.reset();
  });
  const add = async (outbox, body) => {
    await outbox.add(CHAT, { body, reply_to: "" }, Date.now());
    return outbox.all.find((entry) => entry.body === body)?.client_id;
  };
  return { database, a, b, cross, add, closeA: () => closesA.abort() };
}

test("a message is in all tabs at once, and another tab sends it only when its own is gone", async (context) => {
  const { a, b, add, closeA } = await twoOutboxes(context);
  await add(a, "one");
  assert.deepEqual([a.size, b.size, dueIn(b, Date.now())], [1, 1, []]);
  mock.timers.tick(60_000);
  assert.deepEqual([dueIn(a, Date.now()), dueIn(b, Date.now())], [["one"], []]);
  closeA();
  const { next_ms } = b.due(Date.now());
  mock.timers.tick(next_ms - Date.now());
  assert.deepEqual(dueIn(b, Date.now()), ["one"]);
});

test("messages of two tabs have one order in both, and wait for each other", async (context) => {
  const { a, b, cross, add } = await twoOutboxes(context);
  const first = await add(a, "one");
  const one = a.get(first);
  cross(() => {
    b.put({ ...one, client_id: "c3", body: "three", created_ms: one.created_ms + 2 });
    a.put({ ...one, client_id: "c2", body: "two", created_ms: one.created_ms + 1 });
  });
  assert.deepEqual([a, b].map((each) => each.all.map(({ body }) => body)), Array(2).fill(["one", "two", "three"]));
  assert.deepEqual([dueIn(a, Date.now()), dueIn(b, Date.now())], [["one"], []]);
  for (const id of [first, "c2"]) a.remove(id, "5");
  assert.deepEqual([dueIn(a, Date.now()), dueIn(b, Date.now())], [[], ["three"]]);
});

test("a message that a tab takes back, or that is accepted there, leaves all tabs and the database", async (context) => {
  const { a, b, database, cross, add } = await twoOutboxes(context);
  const accepted = [a, b].map((each) => {
    const ids = [];
    each.onAccepted = ({ client_id }, event_id) => ids.push([client_id, event_id]);
    return ids;
  });
  const [one, two] = [await add(a, "one"), await add(a, "two")];
  b.sent(one, Date.now());
  a.remove(one, "5");
  assert.deepEqual(accepted, [[[one, "5"]], [[one, "5"]]]);
  cross(() => {
    b.remove(two);
    a.change({ ...a.get(two), files: [{ file_id: "f1" }] });
  });
  assert.deepEqual([a.size, b.size, database.rows.size], [0, 0, 0]);
  assert.deepEqual(accepted.map(({ length }) => length), [1, 1]);
});

test("a refusal, and a further try, are the same in all tabs", async (context) => {
  const { a, b, add } = await twoOutboxes(context);
  const id = await add(a, "one");
  b.sent(id, Date.now());
  a.refused(id, { code: "malformed", message: "Too long" }, Date.now());
  assert.deepEqual([b.get(id).state, b.get(id).error], ["failed", "Too long"]);
  b.retry(id);
  assert.deepEqual([dueIn(a, Date.now()), dueIn(b, Date.now())], [["one"], ["one"]]);
});

test("a note that is no message of the outbox is ignored", async (context) => {
  const { b } = await twoOutboxes(context);
  const { ends } = fakeChannels();
  b.share(ends[1], new AbortController().signal);
  for (const entry of [null, {}, { client_id: "c1", chat_id: CHAT }]) ends[0].postMessage({ entry, isOwn: true });
  assert.equal(b.size, 0);
});

/** The drafts of two tabs of a browser. */
async function twoTabs() {
  const tabs = [];
  for (const at of [0, 1]) {
    const kept = await Kept.open(async () => fakeDatabase());
    const drafts = new Drafts(kept, new Outbox(kept));
    const channel = { close() {}, postMessage: (data) => tabs[1 - at]?.channel.onmessage({ data }) };
    drafts.share(channel, new AbortController().signal);
    tabs.push({ drafts, kept, channel });
  }
  return tabs;
}

test("a draft that changed in another tab changes here, in the open chat if its field accepts the text", async () => {
  const [there, here] = await twoTabs();
  let changes = 0;
  here.kept.subscribe(() => changes++);
  there.drafts.keep(CHAT, { text: "one" });
  assert.deepEqual([here.drafts.get(CHAT).text, changes], ["one", 1]);
  const asked = [];
  const field = { value: "one", accepts: true };
  const accepts = (change) => (asked.push(change), field.accepts);
  here.drafts.field = { chat_id: CHAT, accepts, show: (text) => (field.value = text) };
  there.drafts.keep(CHAT, { text: "one two" });
  assert.deepEqual(asked, [{ chat_id: CHAT, text: "one two", before: "one" }]);
  assert.deepEqual([field.value, here.drafts.get(CHAT).text], ["one two", "one two"]);
  field.accepts = false;
  there.drafts.keep(CHAT, { text: "" });
  there.drafts.keep("d-1-2", { text: "another chat" });
  assert.deepEqual([field.value, here.drafts.get(CHAT).text], ["one two", "one two"]);
  assert.deepEqual([asked.length, here.drafts.chats], [2, [CHAT, "d-1-2"]]);
  field.accepts = true;
  here.drafts.keep(CHAT, { text: "" });
  assert.deepEqual(there.drafts.chats, ["d-1-2"]);
});

test("a draft changes without a fault after the sign-in has ended, when its channel is closed", async () => {
  const kept = await Kept.open(async () => fakeDatabase());
  const drafts = new Drafts(kept, new Outbox(kept));
  const life = new AbortController();
  drafts.share(new BroadcastChannel("drafts"), life.signal);
  life.abort();
  drafts.keep(CHAT, { text: "one" });
  assert.equal(drafts.get(CHAT).text, "one");
});

test("ids are 128 random bits", async () => {
  const { ids } = await filled("one", "two");
  assert.match(ids[0], /^[0-9a-f]{32}$/);
  assert.notEqual(ids[0], ids[1]);
});

test("files that two tabs attach and remove at once are those of both drafts, and change no text", async () => {
  const [there, here] = await twoTabs();
  const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => ({ client_file_id: name, name }));
  const names = (tab) => tab.drafts.get(CHAT).files.map(({ name }) => name);
  there.drafts.keep(CHAT, { text: "Look", files: [a, b] });
  const field = { accepts: () => assert.fail("the text has not changed"), show: () => {} };
  here.drafts.field = { chat_id: CHAT, ...field };
  const { onmessage } = here.channel;
  const late = [];
  here.channel.onmessage = (event) => late.push(event);
  there.drafts.keep(CHAT, { files: [a, { ...b, width: 9 }, c] });
  here.drafts.keep(CHAT, { files: [b, d] });
  for (const event of late) onmessage(event);
  assert.deepEqual([names(there), names(here)], [["b", "d", "c"], ["b", "c", "d"]]);
  assert.equal(here.drafts.get(CHAT).files[0].width, 9);
  assert.equal(here.drafts.get(CHAT).text, "Look");
  here.drafts.keep(CHAT, { files: [] });
  assert.deepEqual(names(there), []);
});
