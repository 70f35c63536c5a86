// The outbox: order, one message of a chat at a time, retries with the same id, and reloads.

import assert from "node:assert/strict";
import test from "node:test";
import { Outbox } from "../../../web/outbox.js";
import { CHAT, fakeStorage } from "./fakes.js";

const dueIn = (outbox, now_ms = 1_000) => outbox.due(now_ms).due.map(({ body }) => body);

function filled(...bodies) {
  const storage = fakeStorage();
  const outbox = new Outbox(storage, "11");
  bodies.forEach((body, at) => outbox.add(CHAT, body, at));
  return { storage, outbox, ids: outbox.of(CHAT).map(({ client_message_id }) => client_message_id) };
}

test("one message of a chat is in flight at a time, in the order of writing", () => {
  const { outbox, ids } = filled("one", "two");
  assert.deepEqual(dueIn(outbox), ["one"]);
  outbox.sent(ids[0], 1_000);
  assert.deepEqual(dueIn(outbox), []);
  outbox.remove(ids[0]);
  assert.deepEqual(dueIn(outbox), ["two"]);
});

test("another chat does not wait", () => {
  const { outbox, ids } = filled("one");
  outbox.sent(ids[0], 1_000);
  outbox.add("d-1-2", "elsewhere", 5);
  assert.deepEqual(dueIn(outbox), ["elsewhere"]);
});

test("after a lost session the same id is sent again", () => {
  const { outbox, ids } = filled("one");
  outbox.sent(ids[0], 1_000);
  outbox.sessionLost();
  assert.deepEqual(
    outbox.due(1_000).due.map(({ client_message_id }) => client_message_id),
    [ids[0]],
  );
});

test("a message tells how long ago it was first sent, also after a reload", () => {
  const { storage, outbox, ids } = filled("one");
  assert.equal(outbox.firstSentMsAgo(ids[0], 1_000), 0);
  outbox.sent(ids[0], 1_000);
  outbox.sessionLost();
  outbox.sent(ids[0], 5_000);
  const again = new Outbox(storage, "11");
  assert.equal(again.firstSentMsAgo(ids[0], 400_000), 399_000);
  assert.equal(again.firstSentMsAgo(ids[0], 0), 2 ** 32 - 1, "the clock was set back");
});

test("a retryable refusal is retried after its pause, and shown after the sixth", () => {
  const { outbox, ids } = filled("one", "two");
  const refused = { code: "unavailable", message: "Not now", retryable: true, retry_after_ms: 9_000 };
  outbox.refused(ids[0], refused, 1_000);
  assert.deepEqual(outbox.due(9_999), { due: [], next_ms: 10_000 });
  assert.deepEqual(dueIn(outbox, 10_000), ["one"]);
  for (let attempt = 0; attempt < 5; attempt++) outbox.refused(ids[0], refused, 1_000);
  assert.equal(outbox.get(ids[0]).state, "failed");
  assert.deepEqual(dueIn(outbox), ["two"]);
});

test("a final refusal fails at once with its reason, and can be retried in its place", () => {
  const { outbox, ids } = filled("one", "two");
  outbox.refused(ids[0], { code: "too_large", message: "Too long" }, 1_000);
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

test("pending and failed messages survive a reload, in order", () => {
  const { storage, outbox, ids } = filled("one", "two", "three");
  outbox.sent(ids[0], 1_000);
  outbox.refused(ids[1], { code: "forbidden", message: "No" }, 1_000);
  const again = new Outbox(storage, "11");
  assert.deepEqual(
    again.of(CHAT).map(({ body, state }) => [body, state]),
    [
      ["one", "pending"],
      ["two", "failed"],
      ["three", "pending"],
    ],
  );
  assert.equal(again.of(CHAT)[0].client_message_id, ids[0]);
  assert.equal(new Outbox(storage, "1").size, 0);
});

test("accepted and discarded messages are removed from storage too", () => {
  const { storage, outbox, ids } = filled("one", "two");
  outbox.remove(ids[0]);
  outbox.clear();
  assert.deepEqual(Object.keys(storage), []);
});

test("ids are 128 random bits", () => {
  const { ids } = filled("one", "two");
  assert.match(ids[0], /^[0-9a-f]{32}$/);
  assert.notEqual(ids[0], ids[1]);
});
