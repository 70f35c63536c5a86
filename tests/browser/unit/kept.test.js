// Drafts and unsent messages in the browser: kept in its database, and in memory where the database fails.

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Kept } from "../../../web/stores/kept.js";
import { SafeStorage } from "../../../web/stores/storage.js";
import { fakeDatabase, fakeStorage, settle } from "./fakes.js";

const open = (database) => Kept.open(async () => database);

test("values are there again after a reload, and removed ones are not", async () => {
  const database = fakeDatabase();
  const kept = await open(database);
  await kept.put("draft", "a", "one");
  await kept.put("outbox", "a", { body: "two" });
  await kept.put("draft", "b", "three");
  await kept.remove("draft", "b");
  const again = await open(database);
  assert.deepEqual(again.all("draft"), [["a", "one"]]);
  assert.deepEqual(again.get("outbox", "a"), { body: "two" });
  assert.ok(again.isDurable);
  await again.clear();
  assert.deepEqual((await open(database)).all("outbox"), []);
});

test("a value that is put after, or while, everything is deleted is in memory alone", async () => {
  const database = fakeDatabase();
  const kept = await open(database);
  await kept.put("draft", "a", "one");
  const clearing = kept.clear();
  const saved = [await kept.put("outbox", "a", "two"), (await clearing, await kept.put("outbox", "b", "three"))];
  assert.deepEqual([saved, database.rows.size], [[false, false], 0]);
  assert.deepEqual(kept.all("outbox"), [["a", "two"], ["b", "three"]]);
  assert.equal(await (await open(database)).put("draft", "a", "of the next sign-in"), true);
});

test("a database that can't be opened or read is replaced by memory, which is reported", async () => {
  const blocked = await Kept.open(() => Promise.reject(new Error("SecurityError")));
  assert.equal(blocked.isDurable, false);
  assert.equal(await blocked.put("draft", "a", "one"), false);
  assert.equal(blocked.get("draft", "a"), "one");
  const corrupt = await open({ ...fakeDatabase(), read: () => Promise.reject(new Error("UnknownError")) });
  assert.equal(corrupt.isDurable, false);
});

test("a value without room stays in memory, is reported, and is kept as soon as there is room", async () => {
  const database = fakeDatabase();
  const kept = await open(database);
  const reports = [];
  kept.subscribe(() => reports.push(kept.isDurable));
  database.full = true;
  assert.equal(await kept.put("outbox", "a", "one"), false);
  assert.equal(kept.get("outbox", "a"), "one");
  database.full = false;
  await kept.put("draft", "b", "two");
  await settle();
  assert.deepEqual((await open(database)).all("outbox"), [["a", "one"]]);
  assert.deepEqual(reports, [false, true]);
});

test("the end of an unsaved value ends the report", async () => {
  const database = fakeDatabase();
  const kept = await open(database);
  database.full = true;
  await kept.put("outbox", "a", "one");
  await kept.remove("outbox", "a");
  assert.ok(kept.isDurable);
});

test("a database that does not respond counts as failed: a write after 3 s, opening after 10 s", async (context) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  context.after(() => mock.timers.reset());
  const database = fakeDatabase();
  const kept = await open(database);
  database.stuck = true;
  const put = kept.put("outbox", "a", "one");
  mock.timers.tick(3_000);
  assert.equal(await put, false);
  const never = Kept.open(() => new Promise(() => {}));
  mock.timers.tick(10_000);
  assert.equal((await never).isDurable, false);
});

test("blocked storage is replaced by memory", () => {
  const storage = new SafeStorage(() => {
    throw new Error("SecurityError");
  });
  storage.setItem("a", "one");
  assert.equal(storage.getItem("a"), "one");
  storage.removeItem("a");
  assert.equal(storage.getItem("a"), null);
});

test("a value that does not fit into storage is in memory, until it does", () => {
  const full = fakeStorage();
  full.setItem("a", "old");
  let hasRoom = false;
  const setItem = (key, value) => (hasRoom ? full.setItem(key, value) : assert.fail("QuotaExceededError"));
  const storage = new SafeStorage(() => ({ getItem: full.getItem, setItem }));
  storage.setItem("a", "new");
  assert.deepEqual([storage.getItem("a"), full.getItem("a")], ["new", "old"]);
  hasRoom = true;
  storage.setItem("a", "newer");
  assert.deepEqual([storage.getItem("a"), full.getItem("a")], ["newer", "newer"]);
});
