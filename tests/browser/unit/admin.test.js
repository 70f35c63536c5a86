// The logic of the admin page: totals and formats, paged logs, polling, and its requests to the server.

import assert from "node:assert/strict";
import test from "node:test";
import { Problem } from "../../../web/api.js";
import { AdminApi } from "../../../web/admin/api.js";
import { Listing, MAX_PAGES, Pages } from "../../../web/admin/pages.js";
import { PERIOD_MS, Poll } from "../../../web/admin/poll.js";
import { Reports } from "../../../web/admin/reports.js";
import * as summaries from "../../../web/admin/summaries.js";
import { Users } from "../../../web/admin/users.js";
import { clearCopies, clearKept } from "../../../web/stores/clearing.js";
import { Root } from "../../../web/view.js";
import { FakeDocument, idAt, nodesIn, settle, usePage } from "./fakes.js";

const NOW = 1_800_000_000_000;
const SILENT = NOW - summaries.LOST_MS - 1;

const processOf = (role, instance, more = {}) => ({
  ...{ role, instance, version: "1.0", started_at_ms: NOW - 1000, seen_at_ms: NOW - 1000, ready: true },
  ...{ sessions: null, owned: null, lag: null },
  ...more,
});

test("totals leave out lost processes, and name the partition with the largest lag", () => {
  const processes = [
    processOf("gateway", "g1", { sessions: { websocket: 3, grpc: 2 }, lag: { 0: 1, 3: 7 } }),
    processOf("gateway", "g2", { sessions: { websocket: 9, grpc: 9 }, lag: { 1: 99 }, seen_at_ms: SILENT }),
    processOf("archive", "a1", { lag: { 5: 4 }, ready: false }),
  ];
  const partitions = [
    { partition: 0, owner: "g1" },
    { partition: 1, owner: null },
  ];
  assert.deepEqual(summaries.totalsOf(processes, partitions, NOW), {
    ...{ websocket: 3, grpc: 2, processes: 3, lost: 1, unready: 1, partitions: 2, unowned: 1 },
    lag: { sum: 12, worst: 7, partition: "3", instance: "g1" },
  });
});

test("a lost process stays on the page for a while, one that stopped in order does not", () => {
  const killed = processOf("gateway", "killed", { seen_at_ms: SILENT });
  const stopped = processOf("gateway", "stopped");
  const back = processOf("gateway", "back", { seen_at_ms: SILENT });
  const again = processOf("gateway", "back", { seen_at_ms: NOW + 4000 });
  const later = (ms) => summaries.withLost([killed, stopped, back], NOW, [again], NOW + ms);
  assert.deepEqual(later(5000), [again, killed]);
  assert.deepEqual(later(3_600_000), [again]);
});

test("partitions are grouped by owner, those without an owner first", () => {
  const owned = [
    ["g10", 4],
    ["g2", 3],
    [null, 2],
    ["g2", 0],
  ].map(([owner, partition]) => ({ owner, partition }));
  assert.deepEqual(summaries.byOwner(owned), [
    { owner: null, partitions: [2] },
    { owner: "g2", partitions: [0, 3] },
    { owner: "g10", partitions: [4] },
  ]);
});

test("durations have their largest unit, and are never negative", () => {
  const spans = [-5_000, 0, 59_999, 61_000, 3_600_000, 47 * 3_600_000, 72 * 3_600_000];
  const texts = spans.map((ms) => summaries.ago(NOW - ms, NOW).replace(" ago", ""));
  assert.deepEqual(texts, ["0 sec.", "0 sec.", "59 sec.", "1 min.", "1 hr.", "47 hr.", "3 days"]);
});

test("a time has its year: invites end, and entries of the log were made, in other ones", () => {
  const times = [2026, 2027].map((year) => summaries.stamp(new Date(year, 10, 24, 18, 5, 9).getTime()));
  assert.deepEqual(times.map((time) => /\b20\d\d\b/.exec(time)?.[0]), ["2026", "2027"]);
});

test("a typed number is sent as a number, and any other text is left to the server to refuse", () => {
  assert.deepEqual(
    [" 900 ", "0.5", "many", ""].map((text) => summaries.parseValue(text, 5)),
    [900, 0.5, "many", ""],
  );
  assert.equal(summaries.parseValue("900", "info"), "900");
});

test("an entry is found by words of any of its columns as shown", () => {
  const entry = { at_ms: NOW, act: "suspend_user", target: "jonas (17)", detail: "spam", address: "10.0.0.9" };
  const byAda = { ...entry, actor: { user_id: "7", name: "ada" } };
  for (const text of ["Suspend user", "jonas", "10.0 ada", "SPAM"]) assert.ok(summaries.matches(byAda, text), text);
  assert.ok(!summaries.matches(byAda, "jonas restore"));
  assert.ok(summaries.matches({ ...entry, actor: { command: "root" } }, "command:root"));
});

test("a reported message has the text of its last edit", () => {
  const edited = (body) => ({ change: { edited: { text: { body } } } });
  const message = { text: { body: "one" } };
  assert.equal(summaries.bodyOf({ message }), "one");
  assert.equal(summaries.bodyOf({ message, changes: [edited("two"), edited("three"), { change: { pinned: {} } }] }), "three");
  assert.equal(summaries.bodyOf({ message: {} }), "");
});

test("the address holds the open user and the search", () => {
  for (const [id, part] of [
    ["", ""],
    ["17", ""],
    ["", "ada & co"],
    ["17", "#é"],
  ])
    assert.deepEqual(summaries.parseAddress(summaries.usersAddress(id, part)), { section: "users", id, part });
  assert.deepEqual(summaries.parseAddress(""), { section: "", id: "", part: "" });
  assert.deepEqual(summaries.parseAddress("#users/%"), { section: "users", id: "", part: "" });
});

/** A log of `count` entries, the newest with the highest id, in pages of 3. */
function fakeLog(size) {
  const log = { size, requests: [], fetch: null };
  log.fetch = async (before = String(log.size + 1)) => {
    log.requests.push(before);
    const ids = Array.from({ length: Math.min(3, Number(before) - 1) }, (_, at) => String(Number(before) - 1 - at));
    return { entries: ids.map((id) => ({ id })), next: Number(ids.at(-1)) > 1 ? ids.at(-1) : null };
  };
  return log;
}
const idsOf = (pages) => pages.entries.map(({ id }) => Number(id));

test("a log is read back to its beginning", async () => {
  const pages = new Pages(fakeLog(7).fetch);
  await pages.refresh();
  assert.deepEqual(idsOf(pages), [7, 6, 5]);
  await pages.older();
  await pages.older();
  assert.deepEqual(idsOf(pages), [7, 6, 5, 4, 3, 2, 1]);
  assert.equal(pages.next, null);
  await pages.older();
  assert.equal(idsOf(pages).length, 7);
});

test("new entries are added on top of the loaded ones", async () => {
  const log = fakeLog(7);
  const pages = new Pages(log.fetch);
  await pages.refresh();
  await pages.older();
  log.size = 9;
  await pages.refresh();
  assert.deepEqual(idsOf(pages), [9, 8, 7, 6, 5, 4, 3, 2]);
  assert.equal(pages.next, "2");
});

test("more than a page of new entries leaves no hole: the log is reset to the newest page", async () => {
  const log = fakeLog(7);
  const pages = new Pages(log.fetch);
  await pages.refresh();
  log.size = 20;
  await pages.refresh();
  assert.deepEqual(idsOf(pages), [20, 19, 18]);
  await pages.older();
  assert.deepEqual(idsOf(pages), [20, 19, 18, 17, 16, 15]);
});

test("an older page that arrives after the log was reset is dropped", async () => {
  const log = fakeLog(7);
  const pages = new Pages(log.fetch);
  await pages.refresh();
  const older = pages.older();
  [pages.entries, pages.next] = [[{ id: "20" }], "20"];
  await older;
  assert.deepEqual(idsOf(pages), [20]);
});

test("a refresh of a listing reads all its shown pages again, up to the most pages", async () => {
  const requests = [];
  let name = "old";
  const listing = new Listing(async (cursor) => {
    requests.push(cursor);
    return { entries: [`${name} ${cursor}`], next: String(Number(cursor) + 1) };
  });
  await listing.refresh();
  await listing.older();
  assert.deepEqual(requests, ["0", "0", "1"]);
  name = "new";
  await listing.refresh();
  assert.deepEqual([listing.entries, listing.next], [["new 0", "new 1"], "2"]);
  while (listing.next) await listing.older();
  assert.equal(listing.entries.length, MAX_PAGES);
});

test("reports are ready when those of the address are loaded, also if the others arrive after a click", async () => {
  const requests = [];
  const api = { reports: (state) => new Promise((resolve) => requests.push({ state, resolve })) };
  const reports = new Reports({ api, root: { invalidate() {} } });
  const loading = reports.refresh();
  reports.route({ section: "reports", id: "closed", part: "" });
  const answer = { reports: [], users: [], next: null };
  requests[0].resolve(answer);
  await settle();
  assert.deepEqual([requests.map(({ state }) => state), reports.isReady], [["open", "closed"], false]);
  requests[1].resolve(answer);
  await loading;
  assert.equal(reports.isReady, true);
});

test("the focus moves to the details of a picked user, also if a refresh ends before the address changes", async (context) => {
  const { document } = usePage(context, { location: { hash: "" } });
  const [accounts, focused] = [[], []];
  const ada = { user_id: "7", name: "ada", display_name: "Ada", roles: [] };
  const api = { accounts: () => new Promise((resolve) => accounts.push(resolve)), user: async () => ({ ...ada, sign_ins: [] }) };
  const users = new Users({ api, root: { invalidate() {}, after: () => focused.push("details") } });
  const load = async () => {
    const loading = users.load();
    await settle();
    accounts.splice(0).forEach((resolve) => resolve({ entries: [ada], next: null }));
    await loading;
  };
  await load();
  new Root(document.body, () => users.content(), () => {}).render();
  const refresh = users.load();
  nodesIn(document.body).find(({ outside, textContent }) => outside.startsWith("<button") && textContent.includes("@ada")).dispatch("click");
  accounts.splice(0).forEach((resolve) => resolve({ entries: [ada], next: null }));
  await refresh;
  assert.deepEqual([location.hash, focused], ["#users/7", []]);
  users.route({ id: "7", part: "" });
  await load();
  await load();
  assert.deepEqual(focused, ["details"]);
});

test("a report shows the name of its group, if it is known, and the id of its chat", async (context) => {
  context.after(() => delete globalThis.document);
  globalThis.document = new FakeDocument();
  const report = { report_id: idAt(1), user_id: "7", reporter_id: "8", created_at_ms: NOW, reason: "Rude.", messages: [], resolution: null };
  const entries = [["g-5", "Row\u202eing"], ["g-6", ""]].map(([chat_id, chat_name], at) => ({ ...report, report_id: idAt(at), chat_id, chat_name }));
  const reports = new Reports({ api: { reports: async () => ({ reports: entries, users: [], next: null }) }, root: { invalidate() {} } });
  await reports.refresh();
  const parent = document.createElement("main");
  new Root(parent, () => reports.content(), () => {}).render();
  const shown = [...parent.markup.matchAll(/Chat (.*?)<\/p>/g)].map(([, words]) => words.replace(/<.*?>/g, ""));
  assert.deepEqual(shown, ["Rowing g-5", "g-6"]);
});

/** A database of the browser, which records the deleted ranges; a stuck one never opens. */
function useDatabase(context, { isStuck = false } = {}) {
  const deleted = [];
  const transaction = () => ({
    objectStore: () => ({ delete: (range) => deleted.push(range) }),
    commit() {
      queueMicrotask(() => this.oncomplete());
    },
  });
  const open = () => {
    const request = { result: { transaction } };
    if (!isStuck) queueMicrotask(() => request.onsuccess());
    return request;
  };
  const page = { indexedDB: { open }, IDBKeyRange: { bound: (low) => low } };
  Object.assign(globalThis, page);
  context.after(() => Object.keys(page).forEach((name) => delete globalThis[name]));
  return deleted;
}

test("a sign-out deletes all that is kept of the user, and the end of the sign-in by the server the copies", async (context) => {
  const deleted = useDatabase(context);
  await clearKept("17");
  await clearCopies("18");
  assert.deepEqual(deleted, [["17"], ["18", "chat"]]);
});

test("a sign-out waits for storage that does not respond for 3 s at most", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  useDatabase(context, { isStuck: true });
  let isDone = false;
  void clearKept("17").then(() => (isDone = true));
  for (const [ms, expected] of [[2_999, false], [1, true]]) {
    await settle();
    context.mock.timers.tick(ms);
    await settle();
    assert.equal(isDone, expected);
  }
});

/** A page that can be hidden. */
class FakePage extends EventTarget {
  visibilityState = "visible";

  become(state) {
    this.visibilityState = state;
    this.dispatchEvent(new Event("visibilitychange"));
  }
}

test("work runs every 5 seconds while the page is visible, and at once when it becomes visible", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const page = new FakePage();
  let times = 0;
  const poll = new Poll(async () => void times++, page);
  const wait = async (ms) => (context.mock.timers.tick(ms), await settle());
  await poll.now();
  assert.equal(times, 1);
  await wait(PERIOD_MS - 1);
  assert.equal(times, 1);
  await wait(1);
  assert.equal(times, 2);
  page.become("hidden");
  await wait(10 * PERIOD_MS);
  assert.equal(times, 2);
  page.become("visible");
  await settle();
  assert.equal(times, 3);
  poll.stop();
  page.become("visible");
  await wait(10 * PERIOD_MS);
  assert.equal(times, 3);
});

test("calls during a run lead to one more run, and never to two at a time", async () => {
  const ends = [];
  let most = 0;
  let now = 0;
  const work = async () => {
    most = Math.max(most, ++now);
    await new Promise((resolve) => ends.push(resolve));
    now--;
  };
  const poll = new Poll(work, new FakePage());
  void poll.now();
  for (let times = 0; times < 3; times++) void poll.now();
  ends.shift()();
  await settle();
  assert.equal(ends.length, 1);
  poll.stop();
  ends.shift()();
  await settle();
  assert.deepEqual([ends.length, most], [0, 1]);
});

/** An API that responds by path and records its requests. */
function fakeApi(answers) {
  const requests = [];
  const signedIn = async (method, path, body) => {
    requests.push(body ? [method, path, body] : [method, path]);
    const answer = answers[path.split("?")[1] ?? path];
    if (answer instanceof Error) throw answer;
    return answer ?? {};
  };
  return { requests, signedIn };
}

test("each action sends its request", async () => {
  const api = fakeApi({});
  const admin = new AdminApi(api);
  await admin.setValue("frame_burst", 900);
  await admin.unsetValue("frame_burst");
  await admin.suspend("17", "spam");
  await admin.restore("17");
  await admin.signOutEverywhere("17");
  await admin.history("9");
  await admin.audit();
  await admin.reports("closed", "9");
  await admin.closeReport("7", "handled", "Warned.");
  await admin.openReportedFile("7", { message_id: "8", file_id: "9", download: true });
  assert.deepEqual(api.requests, [
    ["PUT", "/v1/admin/configuration/frame_burst", { value: 900 }],
    ["DELETE", "/v1/admin/configuration/frame_burst"],
    ["PUT", "/v1/admin/users/17/suspension", { reason: "spam" }],
    ["DELETE", "/v1/admin/users/17/suspension"],
    ["DELETE", "/v1/admin/users/17/sign-ins"],
    ["GET", "/v1/admin/configuration/history?limit=50&before=9"],
    ["GET", "/v1/admin/audit?limit=50"],
    ["GET", "/v1/admin/reports?state=closed&after=9"],
    ["POST", "/v1/admin/reports/7", { resolution: "handled", note: "Warned." }],
    ["POST", "/v1/admin/reports/7/links", { message_id: "8", file_id: "9", download: true }],
  ]);
});

test("digits match ids and parts of names, and a user who matches both is found once", async () => {
  const [ada, mira] = [{ user_id: "1234" }, { user_id: "7" }];
  const api = fakeApi({ "user_id=1234": { users: [ada] }, "part=1234": { users: [mira, ada] } });
  assert.deepEqual(await new AdminApi(api).findUsers("1234"), [ada, mira]);
});

test("digits out of the range of ids still match names", async () => {
  const mira = { user_id: "7" };
  const noId = new Problem(400, { code: "invalid", field: "user_id" });
  const found = await new AdminApi(fakeApi({ "user_id=000": noId, "part=000": { users: [mira] } })).findUsers("000");
  assert.deepEqual(found, [mira]);
  const refused = fakeApi({ "user_id=17": new Problem(403, { code: "forbidden" }) });
  await assert.rejects(new AdminApi(refused).findUsers("17"), { status: 403 });
});

test("a page that is added during a refresh stays", async () => {
  const waiting = [];
  const fetch = (cursor) => new Promise((resolve) => waiting.push(() => resolve({ entries: [cursor], next: `${+cursor + 1}` })));
  const listing = new Listing(fetch);
  const reads = [listing.refresh(), listing.older()];
  for (const at of [1, 2, 0]) {
    waiting[at]();
    await settle();
  }
  await Promise.all(reads);
  assert.deepEqual(listing.entries, ["0", "1"]);
});
