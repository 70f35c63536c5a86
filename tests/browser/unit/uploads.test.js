// Files of messages: kept until they are sent, uploaded in parts, continued after failures and reloads.

import assert from "node:assert/strict";
import test, { mock } from "node:test";
import { NoResponse, Problem } from "../../../web/api.js";
import { VoiceMessage } from "../../../web/components/voice.js";
import { Bytes } from "../../../web/files/bytes.js";
import { Crop } from "../../../web/files/crop.js";
import { filesIn } from "../../../web/files/dropped.js";
import { nameOf } from "../../../web/files/picked.js";
import { Recorder, waveformOf } from "../../../web/files/recorder.js";
import { FileServer } from "../../../web/files/server.js";
import { MAX_DRAFT_BYTES } from "../../../web/files/attached.js";
import { Uploads } from "../../../web/files/uploads.js";
import { Chats } from "../../../web/stores/chats.js";
import { Kept } from "../../../web/stores/kept.js";
import { Sending } from "../../../web/stores/sending.js";
import { ADA, CHAT, fakeChannels, fakeDatabase, settle } from "./fakes.js";

const PART_BYTES = 4;

mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });

/** A server that keeps files, refuses with the next of `faults`, and lets the test hold its parts. */
class FakeServer {
  files = new Map();
  faults = [];
  requests = [];
  held = null;

  async reserve({ client_file_id, name, size, voice, keep_original }) {
    Object.assign(this, { voice });
    this.originals = { ...this.originals, [name]: keep_original === true };
    this.#answer("reserve");
    const known = this.files.get(client_file_id) ?? { file_id: `f${this.files.size + 1}`, name, size, state: "uploading", parts: new Map() };
    this.files.set(client_file_id, known);
    const parts = [...known.parts].map(([number, bytes]) => ({ number, size: bytes.byteLength }));
    return { ...known, part_bytes: PART_BYTES, parts };
  }

  async writePart(file_id, number, bytes, { signal, progress }) {
    progress(1);
    if (this.held) await Promise.race([this.held, new Promise((_, reject) => signal.addEventListener("abort", () => reject(new NoResponse("aborted"))))]);
    this.#answer(`part ${number}`);
    this.#file(file_id).parts.set(number, bytes);
  }

  async complete(file_id) {
    this.#answer("complete");
    return Object.assign(this.#file(file_id), { state: "complete", media_type: "image/png", width: 9, height: 6 });
  }

  async cancel(file_id) {
    this.requests.push(`cancel ${file_id}`);
  }

  /** The bytes of a file as text. */
  content(client_file_id) {
    const parts = [...this.files.get(client_file_id).parts].sort(([one], [other]) => one - other);
    return parts.map(([, bytes]) => new TextDecoder().decode(bytes)).join("");
  }

  #file(file_id) {
    return [...this.files.values()].find((file) => file.file_id === file_id);
  }

  #answer(request) {
    this.requests.push(request);
    const fault = this.faults.shift();
    if (fault) throw fault;
  }
}

/** Like the browser's database: it copies the bytes. */
function fakeFiles(rows = new Map()) {
  const files = { rows, isFull: false };
  const put = async (id, bytes) => {
    if (files.isFull) throw new Error("QuotaExceededError");
    rows.set(id, new Blob([await bytes.arrayBuffer()]));
  };
  return Object.assign(files, { put, get: async (id) => rows.get(id), remove: async (id) => rows.delete(id), prune: async () => {} });
}

/** A page whose session is online; `channels`, by name, connect it with another tab until `close`. */
async function opened({ server = new FakeServer(), files = fakeFiles(), open = async () => files, database = fakeDatabase(), channels } = {}) {
  const chats = new Chats({}, { user_id: ADA, name: "ada", display_name: "" });
  const frames = [];
  const line = { send: (frame, answered) => frames.push({ ...frame.send, answered }) };
  const sending = new Sending(chats, await Kept.open(async () => database), line, {});
  const life = new AbortController();
  if (channels) sending.share((name) => channels[name], life.signal);
  const environment = { server, open, measure: async () => ({ width: 3, height: 2 }) };
  const uploads = (sending.uploads = new Uploads(sending, {}, chats, environment));
  const page = { server, files, database, chats, sending, uploads, frames, close: () => life.abort() };
  return Object.assign(page, { sent: () => frames.map(({ text, files: refs }) => [text.body, refs?.map(({ file_id }) => file_id)]) });
}

const file = (content = "0123456789", name = "a.png", type = "image/png") => new File([content], name, { type });
const waiting = ({ sending }) => sending.waiting(CHAT)[0];

/** Runs what is due for some seconds. */
async function pass(seconds = 0) {
  for (let count = 0; count < 12; count++) await settle();
  mock.timers.tick(seconds * 1_000);
  for (let count = 0; count < 12; count++) await settle();
}

async function sendFiles(page, body, ...files) {
  page.uploads.attached.add(CHAT, files);
  await page.uploads.attached.send(CHAT, body, {}, page.uploads.attached.take(CHAT));
}

test("a message is sent when its files are uploaded, in parts, and the next message of the chat waits for it", async () => {
  const page = await opened();
  let release;
  page.server.held = new Promise((resolve) => (release = resolve));
  await sendFiles(page, "Look", file(), file("", "empty.txt", "text/plain"));
  await page.sending.send(CHAT, "after");
  await page.sending.send("d-1-11", "elsewhere");
  assert.deepEqual(page.sent(), [["elsewhere", undefined]]);
  const { files } = waiting(page);
  assert.deepEqual(files.map(({ name, size }) => [name, size]), [["a.png", "10"], ["empty.txt", "0"]]);
  assert.equal(files[0].width, 3);
  assert.notEqual(page.uploads.urlOf(files[0]), "");
  release();
  await pass();
  assert.equal(page.server.content(files[0].client_file_id), "0123456789");
  assert.deepEqual(page.sent().at(-1), ["Look", ["f1", "f2"]]);
  assert.equal(waiting(page).files[0].width, 9, "as the server has found it");
  page.frames.at(-1).answered({ accepted: { event_id: "5" } });
  assert.deepEqual(page.sent().at(-1), ["after", undefined]);
  await pass();
  assert.equal(page.files.rows.size, 0);
  assert.notEqual(page.uploads.urlOf({ file_id: "f1" }), "", "the page goes on showing it");
});

test("progress is of one file, and a failure that may pass continues with the parts that are missing", async () => {
  const page = await opened();
  page.server.faults = [null, null, new NoResponse("away")];
  await sendFiles(page, "", file());
  const progress = () => page.uploads.progressOf(waiting(page).files[0]);
  await pass();
  assert.deepEqual(progress(), { sent: 5, size: 10, isWaiting: true });
  page.uploads.online();
  await pass();
  assert.deepEqual(page.server.requests, ["reserve", "part 1", "part 2", "reserve", "part 2", "part 3", "complete"]);
  assert.equal(progress(), null);
});

test("a reload continues the upload, and shows the kept bytes", async () => {
  const before = await opened();
  before.server.held = new Promise(() => {});
  await sendFiles(before, "Look", file());
  const { database, files } = before;
  const page = await opened({ database, files });
  await pass();
  assert.notEqual(page.uploads.urlOf(waiting(page).files[0]), "");
  assert.deepEqual(page.sent(), [["Look", ["f1"]]]);
});

const attached = ({ uploads }) => uploads.attached.of(CHAT).map(({ name }) => name);

/** Attaches files and waits until they are kept. */
async function attach(page, ...files) {
  page.uploads.attached.add(CHAT, files);
  await pass();
}

/** The page again after a reload, with the chat open. */
async function reloaded({ database, files, server }) {
  const page = await opened({ database, files, server });
  page.uploads.attached.open(CHAT);
  await pass();
  return page;
}

test("a draft has its files again after a reload, in order and with its text, until they are sent", async () => {
  const before = await opened();
  before.sending.drafts.keep(CHAT, { text: "Our trip" });
  await attach(before, file("first", "b.png"), file("second", "a.txt", "text/plain"));
  await attach(before, file("third", "c.png"));
  before.uploads.attached.remove(CHAT, before.uploads.attached.of(CHAT)[0]);
  await pass();
  assert.equal(before.files.rows.size, 2);
  const page = await reloaded(before);
  assert.deepEqual(attached(page), ["a.txt", "c.png"]);
  const [text, picture] = page.uploads.attached.of(CHAT);
  assert.deepEqual([picture.width, page.sending.drafts.get(CHAT).text], [3, "Our trip"]);
  assert.notEqual(page.uploads.urlOf(picture), "");
  assert.deepEqual(page.sending.unsent().get(CHAT), { state: "draft", text: "2 files: Our trip" });
  await page.uploads.attached.send(CHAT, "Our trip", {}, page.uploads.attached.take(CHAT));
  page.sending.drafts.keep(CHAT, { text: "" });
  await pass();
  assert.equal(page.server.content(text.client_file_id), "second");
  assert.deepEqual(page.sent(), [["Our trip", ["f1", "f2"]]]);
  page.frames[0].answered({ accepted: { event_id: "5" } });
  await pass();
  assert.deepEqual([page.files.rows.size, page.database.rows.size, page.sending.unsent().size], [0, 0, 0]);
});

test("a draft has its files until their message is kept, and then not again", async () => {
  const page = await opened();
  await attach(page, file("kept", "kept.png"));
  const drafted = () => page.sending.drafts.get(CHAT).files.length;
  let release;
  const { put } = page.files;
  page.files.put = (...row) => new Promise((resolve) => (release = () => resolve(put(...row))));
  page.uploads.attached.add(CHAT, [file("slow", "slow.png")]);
  const sent = page.uploads.attached.send(CHAT, "", {}, page.uploads.attached.take(CHAT));
  await pass();
  assert.deepEqual([attached(page), drafted()], [[], 1]);
  const [row] = page.database.rows.values();
  release();
  await sent;
  assert.equal(drafted(), 0);
  await page.database.put(...row); // as if the page had ended just before
  assert.deepEqual(attached(await reloaded(page)), []);
});

test("files stay on the screen until their message is kept, and then its message shows them", async () => {
  const page = await opened({ files: { ...fakeFiles(), put: () => new Promise(() => {}) } });
  const shown = () => page.uploads.attached.shown(CHAT).map(({ file: { name }, isLeaving }) => [name, isLeaving]);
  page.uploads.attached.add(CHAT, [file("", "slow.png")]);
  assert.deepEqual(shown(), [["slow.png", false]]);
  const sent = page.uploads.attached.send(CHAT, "", {}, page.uploads.attached.take(CHAT));
  await pass(20);
  assert.deepEqual([attached(page), shown(), waiting(page)], [[], [["slow.png", true]], undefined]);
  for (let half = 0; half < 2; half++) await pass(30);
  await sent;
  assert.deepEqual([shown(), waiting(page).files[0].name], [[], "slow.png"]);
});

test("files beyond the limit of all drafts are named, and are sent nevertheless", async () => {
  const page = await opened();
  const large = (name, size) => Object.defineProperty(file("0123", name), "size", { value: size });
  page.uploads.attached.add("d-1-11", [large("elsewhere.png", 1_000)]);
  page.uploads.attached.add(CHAT, [large("fits.png", MAX_DRAFT_BYTES - 1_000), large("not.png", 1), large("empty.png", 0)]);
  await pass();
  assert.deepEqual(page.uploads.attached.notKept(CHAT), { tooMuch: ["not.png"], noRoom: [], lost: [] });
  assert.deepEqual([page.sending.isDurable, page.sending.survivesReload], [true, false]);
  assert.deepEqual(attached(page), ["fits.png", "not.png", "empty.png"]);
  assert.deepEqual(attached(await reloaded(page)), ["fits.png", "empty.png"]);
  await page.uploads.attached.send(CHAT, "", {}, page.uploads.attached.take(CHAT));
  await pass();
  assert.deepEqual([page.sent(), page.sending.survivesReload], [[["", ["f1", "f2", "f3"]]], true]);
  assert.equal(page.uploads.attached.add(CHAT, [large("again.png", MAX_DRAFT_BYTES - 1_000)]).tooMany, 0);
  assert.deepEqual(page.uploads.attached.notKept(CHAT).tooMuch, []);
});

test("a file for which the browser has no room is named, and lost bytes are named after a reload", async () => {
  const page = await opened();
  await attach(page, file("kept", "kept.png"));
  page.files.isFull = true;
  await attach(page, file("not", "not.png"));
  assert.deepEqual(page.uploads.attached.notKept(CHAT), { tooMuch: [], noRoom: ["not.png"], lost: [] });
  assert.equal(page.sending.isDurable, false);
  assert.deepEqual(page.sending.unsent().get(CHAT).text, "2 photos");
  page.files.rows.clear();
  const after = await reloaded(page);
  assert.deepEqual([attached(after), after.uploads.attached.notKept(CHAT).lost], [[], ["kept.png"]]);
  assert.equal(after.database.rows.size, 0);
  const blocked = await opened({ database: page.database, files: { ...fakeFiles(), put: () => assert.fail(), get: async () => assert.fail() } });
  await attach(blocked, file("any", "any.png"));
  assert.deepEqual([attached(blocked), blocked.uploads.attached.notKept(CHAT).noRoom], [["any.png"], ["any.png"]]);
});

/** Functions that open two tabs of a browser, with the chat open in them. */
function newTabs() {
  const [files, database, server] = [fakeFiles(), fakeDatabase(), new FakeServer()];
  const pairs = ["drafts", "outbox", "changes"].map((name) => [name, fakeChannels().ends]);
  return [0, 1].map((at) => async () => {
    const channels = Object.fromEntries(pairs.map(([name, ends]) => [name, ends[at]]));
    const page = await opened({ files, database, server, channels });
    page.uploads.attached.open(CHAT);
    return page;
  });
}

const twoTabs = () => Promise.all(newTabs().map((open) => open()));

test("two tabs show the same files, and bytes that a message of one tab needs stay", async () => {
  const [here, there] = await twoTabs();
  await attach(here, file("one", "one.png"), file("two", "two.png"));
  assert.deepEqual(attached(there), ["one.png", "two.png"]);
  assert.notEqual(there.uploads.urlOf(there.uploads.attached.of(CHAT)[1]), "");
  there.uploads.attached.setOriginal(CHAT, true);
  assert.equal(here.uploads.attached.isOriginal(CHAT), true);
  there.uploads.attached.remove(CHAT, there.uploads.attached.of(CHAT)[0]);
  await pass();
  assert.deepEqual([attached(here), here.files.rows.size], [["two.png"], 1]);
  here.server.held = new Promise(() => {});
  await here.uploads.attached.send(CHAT, "", {}, here.uploads.attached.take(CHAT));
  await pass();
  assert.deepEqual([attached(there), there.sending.drafts.chats, there.files.rows.size], [[], [], 1]);
});

test("a file is uploaded by the tab that sends its message, and by another one only when that tab is gone", async () => {
  const [here, there] = await twoTabs();
  here.server.held = new Promise(() => {});
  await sendFiles(here, "Look", file());
  await pass(60);
  assert.deepEqual([here.server.requests, waiting(there).body], [["reserve"], "Look"]);
  assert.notEqual(there.uploads.urlOf(waiting(there).files[0]), "");
  here.close();
  here.server.held = null;
  await pass(8);
  assert.equal(there.server.content(waiting(there).files[0].client_file_id), "0123456789");
  assert.deepEqual(there.sent(), [["Look", ["f1"]]]);
});

test("a message that is taken back in one tab is not sent by another one that was opened while it was uploaded", async () => {
  const [open, openOther] = newTabs();
  const here = await open();
  here.server.held = new Promise(() => {});
  await sendFiles(here, "Look", file());
  await pass();
  const there = await openOther();
  await pass();
  here.uploads.cancel(waiting(here));
  here.server.held = null;
  await pass(60);
  assert.deepEqual([here, there].map((tab) => [waiting(tab), tab.sent(), tab.sending.drafts.get(CHAT).text]), Array(2).fill([undefined, [], "Look"]));
  assert.deepEqual([here.server.requests.includes("complete"), here.files.rows.size], [false, 0]);
});

test("only pictures keep their original, those attached later too, and none after the last is removed", async () => {
  const page = await opened();
  await attach(page, file("one", "one.png"), file("note", "note.txt", "text/plain"));
  assert.equal(page.uploads.attached.isOriginal(CHAT), false);
  page.uploads.attached.setOriginal(CHAT, true);
  await attach(page, file("two", "two.png"));
  const after = await reloaded(page);
  await after.uploads.attached.send(CHAT, "", {}, after.uploads.attached.take(CHAT));
  await pass();
  assert.deepEqual(after.server.originals, { "one.png": true, "note.txt": false, "two.png": true });
  await attach(after, file("three", "three.png"), file("note", "note.txt", "text/plain"));
  assert.equal(after.uploads.attached.isOriginal(CHAT), false);
  after.uploads.attached.setOriginal(CHAT, true);
  after.uploads.attached.remove(CHAT, after.uploads.attached.of(CHAT)[0]);
  await attach(after, file("four", "four.png"));
  assert.equal(after.uploads.attached.isOriginal(CHAT), false);
});

test("the files of a draft are deleted when the chat is left, and at the sign-out", async () => {
  const page = await opened();
  await attach(page, file());
  const other = await reloaded(page);
  const closed = new Set();
  other.chats.isClosed = (chat_id) => closed.has(chat_id);
  other.uploads.attached.add("d-1-11", [file()]);
  await pass();
  closed.add(CHAT);
  other.sending.changed();
  await pass();
  assert.deepEqual([attached(other), other.sending.drafts.chats, other.files.rows.size], [[], ["d-1-11"], 1]);
  other.uploads.attached.add("d-1-11", [file()]);
  await other.sending.clear();
  other.files.rows.clear(); // a part of the same database
  await pass();
  assert.deepEqual([other.database.rows.size, other.files.rows.size], [0, 0]);
});

test("what the server refuses fails the message with the reason, and a further try sends it", async () => {
  const page = await opened();
  page.server.faults = [new Problem(413, { code: "new", detail: "Too much" })];
  await sendFiles(page, "Look", file());
  await pass();
  assert.equal(waiting(page).state, "failed");
  assert.notEqual(waiting(page).error, "");
  page.sending.retry(waiting(page));
  await pass();
  assert.deepEqual(page.sent(), [["Look", ["f1"]]]);
});

test("a file that was attached before its limit was known fails as too large, and others by the user's quota", async () => {
  const errorOf = async (max_file_bytes) => {
    const page = await opened();
    page.server.faults = [new Problem(413, { code: "too_large", field: "size" })];
    page.uploads.attached.add(CHAT, [file()]);
    page.sending.maxFileBytes = max_file_bytes;
    await page.uploads.attached.send(CHAT, "", {}, page.uploads.attached.take(CHAT));
    await pass();
    return waiting(page).error;
  };
  assert.equal(await errorOf(9), "a.png is too large: a file may have 9 bytes at most.");
  for (const limit of [0, 10]) assert.equal(await errorOf(limit), "File a.png: Your files have reached the limit of this server.");
});

/** A page with a message of two files that has failed after both uploads had begun. */
async function failed() {
  const page = await opened();
  let goOn;
  page.server.held = new Promise((resolve) => (goOn = resolve));
  await sendFiles(page, "Look", file(), file("abcdefghij", "b.png"));
  await pass();
  page.server.faults = [null, new Problem(403, { code: "forbidden", field: "media_type" })];
  goOn();
  await pass();
  assert.deepEqual([waiting(page).state, page.sent()], ["failed", []]);
  return page;
}

test("a message that fails names the file, and is sent without it with its text and its other files", async () => {
  const page = await opened();
  const { complete } = page.server;
  page.server.complete = async (file_id) => ({ ...(await complete.call(page.server, file_id)), ...(file_id === "f2" && { state: "blocked" }) });
  await sendFiles(page, "Look", file(), file("abcdefghij", "bad.zip"), file("klmnopqrst", "c.png"));
  await pass();
  const { state, error, files } = waiting(page);
  assert.deepEqual([state, error], ["failed", "File bad.zip: The server has found malware in the file."]);
  assert.deepEqual(files.map(({ has_failed = false }) => has_failed), [false, true, false]);
  page.sending.sendWithout(waiting(page));
  await pass();
  assert.deepEqual([page.sent(), waiting(page).files.some(({ has_failed }) => has_failed)], [[["Look", ["f1", "f3"]]], false]);
});

test("a failed message that is deleted ends the uploads that had begun", async () => {
  const page = await failed();
  assert.equal(page.server.requests.includes("cancel f1"), false);
  page.sending.discard(waiting(page));
  await pass();
  assert.deepEqual([page.server.requests.slice(-2), page.files.rows.size], [["cancel f1", "cancel f2"], 0]);
});

test("a failed message that is deleted after a reload ends the uploads that an earlier page had begun", async () => {
  const { database, files, server } = await failed();
  const page = await opened({ database, files, server });
  await pass();
  page.sending.discard(waiting(page));
  await pass();
  assert.deepEqual(server.requests.slice(-2), ["cancel f1", "cancel f2"]);
});

test("a server that keeps failing is left alone after six attempts", async () => {
  const page = await opened();
  page.server.complete = async () => {
    throw new Problem(503, {});
  };
  await sendFiles(page, "", file());
  for (let count = 0; count < 9; count++) await pass(15);
  assert.equal(page.server.requests.filter((request) => request === "reserve").length, 6);
  assert.equal(waiting(page).state, "failed");
});

test("a file that the server checks for minutes is being checked, and is sent then", async () => {
  const page = await opened();
  const { complete } = page.server;
  let answers = 0;
  page.server.complete = async (file_id) => {
    if (++answers <= 7) throw new Problem(504, { code: "timed_out" });
    return complete.call(page.server, file_id);
  };
  await sendFiles(page, "Look", file());
  for (let count = 0; count < 7; count++) {
    await pass();
    assert.deepEqual(page.uploads.progressOf(waiting(page).files[0]), { sent: 10, size: 10, isWaiting: false });
    await pass(15);
  }
  assert.deepEqual([page.sent(), answers], [[["Look", ["f1"]]], 8]);
});

test("a server that fails once after it was away for long is tried again", async () => {
  const page = await opened();
  page.server.faults = [...Array.from({ length: 6 }, () => new NoResponse("away")), new Problem(503, {})];
  await sendFiles(page, "Look", file());
  for (let count = 0; count < 8; count++) await pass(15);
  assert.deepEqual(page.sent(), [["Look", ["f1"]]]);
});

test("an upload ends with the sign-in, begins in no module that is loaded later, and goes on at the user's next sign-in", async () => {
  const page = await opened();
  let release;
  page.server.held = new Promise((resolve) => (release = resolve));
  await sendFiles(page, "Look", file());
  await pass();
  const { server, files, database, sending, chats } = page;
  sending.stop();
  release();
  await pass();
  new Uploads(sending, {}, chats, { server, open: async () => files });
  await pass();
  assert.deepEqual([server.requests, waiting(page).state], [["reserve"], "pending"]);
  const again = await opened({ database, files, server });
  await pass();
  assert.deepEqual(again.sent(), [["Look", ["f1"]]]);
});

test("no upload begins after a sign-out in the pause after a failure, or while the bytes are read", async () => {
  const page = await opened();
  page.server.faults = [null, new NoResponse("away")];
  await sendFiles(page, "Look", file());
  await pass();
  const { database, files } = page;
  let release;
  const { get } = files;
  files.get = (id) => new Promise((resolve) => (release = () => resolve(get(id))));
  const reading = await opened({ database: Object.assign(fakeDatabase(), { read: database.read }), files });
  await pass();
  await Promise.all([page, reading].map(({ sending }) => sending.clear()));
  release();
  await pass(15);
  assert.deepEqual([page.server.requests, reading.server.requests], [["reserve", "part 1"], []]);
});

test("a message that is taken back ends its upload, and its text becomes the draft", async () => {
  const page = await opened();
  page.server.held = new Promise(() => {});
  await sendFiles(page, "Look", file());
  await pass();
  await page.sending.send(CHAT, "after");
  page.uploads.cancel(waiting(page));
  await pass();
  assert.deepEqual([page.server.requests.at(-1), page.files.rows.size], ["cancel f1", 0]);
  assert.equal(page.sending.drafts.get(CHAT).text, "Look");
  assert.deepEqual(page.sent(), [["after", undefined]]);
});

test("files that the server has forgotten are uploaded again", async () => {
  const page = await opened();
  await sendFiles(page, "", file());
  await pass();
  page.frames[0].answered({ refused: { code: "not_found", field: "send.files[0]" } });
  assert.equal(waiting(page).state, "failed");
  page.sending.retry(waiting(page));
  await pass();
  assert.deepEqual(page.sent().at(-1), ["", ["f2"]]);
});

test("many files become several messages, the text with the first, and too many or too large ones stay", async () => {
  const page = await opened();
  page.sending.maxFileBytes = 10;
  const many = Array.from({ length: 12 }, () => file());
  const { tooLarge } = page.uploads.attached.add(CHAT, [file("01234567890", "large.bin"), ...many]);
  assert.deepEqual(tooLarge.map(({ name }) => name), ["large.bin"]);
  page.uploads.attached.remove(CHAT, page.uploads.attached.of(CHAT)[0]);
  await page.uploads.attached.send(CHAT, "Look", {}, page.uploads.attached.take(CHAT));
  assert.deepEqual(page.sending.waiting(CHAT).map(({ body, files }) => [body, files.length]), [["Look", 10], ["", 1]]);
  assert.equal(page.uploads.attached.add(CHAT, Array.from({ length: 101 }, () => file())).tooMany, 1);
  const files = Array.from({ length: 103 }, (_, at) => ({ client_file_id: `${at}`, size: "1" }));
  page.sending.drafts.keep("d-1-11", { files }); // of two tabs
  assert.equal(page.uploads.attached.add("d-1-11", [file(), file(), file(), file()]).tooMany, 4);
});

test("without room for the bytes, the upload goes on from memory and the page knows that a reload loses them", async () => {
  const page = await opened({ files: Object.assign(fakeFiles(), { isFull: true }) });
  await sendFiles(page, "", file());
  assert.equal(page.sending.isDurable, false);
  await pass();
  assert.deepEqual(page.sent(), [["", ["f1"]]]);
  page.frames[0].answered({ accepted: { event_id: "5" } });
  assert.equal(page.sending.isDurable, true);
});

test("a database that does not respond delays a message with files, and does not hold it back", async () => {
  const never = () => new Promise(() => {});
  for (const [stuck, seconds] of [[{ open: never }, 10], [{ files: { ...fakeFiles(), put: never } }, 60]]) {
    const page = await opened(stuck);
    const sending = sendFiles(page, "Look", file());
    for (let second = 0; second < seconds; second++) await pass(1);
    await sending;
    await pass();
    assert.deepEqual([page.sent(), page.sending.isDurable], [[["Look", ["f1"]]], false]);
  }
});

test("bytes that are kept too late, after the sign-in has ended, are deleted", async () => {
  const files = fakeFiles();
  const { put } = files;
  let goOn;
  files.put = async (...row) => (await new Promise((resolve) => (goOn = resolve)), put(...row));
  const bytes = new Bytes(Promise.resolve(files));
  bytes.hold("a", file());
  const keeping = bytes.keep("a");
  await pass(30);
  assert.equal(await keeping, false);
  bytes.stop();
  goOn();
  await pass();
  assert.equal(files.rows.size, 0);
});

test("a message whose files are kept at the sign-out is not kept any more, nor are its bytes", async () => {
  const page = await opened();
  page.files.isFull = true;
  await attach(page, file()); // once more, as a message
  page.files.isFull = false;
  const { database, files, sending, uploads } = page;
  const taken = uploads.attached.take(CHAT);
  let goOn;
  taken[0].ready = new Promise((resolve) => (goOn = resolve));
  const sent = uploads.attached.send(CHAT, "Look", {}, taken);
  await sending.clear();
  goOn();
  await sent;
  await pass();
  assert.deepEqual([database.rows.size, files.rows.size], [0, 0]);
});

test("bytes that the browser has lost fail the message", async () => {
  const { database } = await (async () => {
    const page = await opened();
    page.server.held = new Promise(() => {});
    await sendFiles(page, "", file());
    return page;
  })();
  const page = await opened({ database });
  await pass();
  assert.deepEqual([waiting(page).state, page.sent()], ["failed", []]);
});

test("names have no path and no control characters, and are cut before their suffix", () => {
  assert.equal(nameOf("C:\\photos\\a\u0000\u202e\u2028b.png"), "ab.png");
  assert.deepEqual(["/", "..", " "].map(nameOf), ["file", "file", "file"]);
  assert.equal(new TextEncoder().encode(nameOf(`${"é".repeat(2_000)}.jpeg`)).length, 255);
  assert.match(nameOf(`${"é".repeat(2_000)}.jpeg`), /é\.jpeg$/);
});

test("a copied table is text, and a dropped folder is no file", () => {
  const picture = file();
  assert.deepEqual(filesIn({ types: ["text/plain", "text/html", "Files"], files: [picture], items: [] }), []);
  assert.deepEqual(filesIn({ types: ["text/html", "Files"], files: [picture], items: [] }), [picture]);
  const entry = (isDirectory) => ({ kind: "file", webkitGetAsEntry: () => ({ isDirectory }), getAsFile: () => picture });
  assert.deepEqual(filesIn({ types: ["Files"], files: [picture, picture], items: [entry(true), entry(false)] }), [picture]);
});

/** An XMLHttpRequest that answers with these statuses; 0 for no response. */
function requests(...statuses) {
  const made = [];
  const make = () => {
    const request = { upload: {}, headers: {}, responseText: '{"code": "unauthenticated"}' };
    made.push(request);
    return Object.assign(request, {
      open: (method, path) => Object.assign(request, { method, path }),
      setRequestHeader: (name, value) => void (request.headers[name] = value),
      abort: () => request.onabort(),
      send(bytes) {
        request.upload.onprogress({ loaded: bytes.byteLength });
        request.status = statuses.shift();
        if (request.status) request.onload();
      },
    });
  };
  return { made, make };
}

test("a part is sent again with a new token after the old one was rejected, and fails when nothing comes", async () => {
  const { made, make } = requests(401, 204, 0);
  const api = { accessToken: async (rejected) => (rejected ? "new" : "old") };
  const server = new FileServer(api, make);
  const sent = [];
  const how = { signal: new AbortController().signal, progress: (bytes) => sent.push(bytes) };
  await server.writePart("7", 2, new ArrayBuffer(3), how);
  assert.deepEqual(made.map(({ headers }) => headers.Authorization), ["Bearer old", "Bearer new"]);
  assert.deepEqual([made[0].method, made[0].path, sent], ["PUT", "/v1/files/7/parts/2", [3, 3]]);
  const stalled = assert.rejects(server.writePart("7", 3, new ArrayBuffer(3), how), NoResponse);
  await pass(30);
  await stalled;
});

/** A microphone with these levels, one after the other; it records what the test adds. */
function microphone(...levels) {
  const used = { isOpen: false, recorder: null, content: "Opus" };
  const stream = { getTracks: () => [{ stop: () => void (used.isOpen = false) }] };
  return Object.assign(used, {
    supports: (type) => type.startsWith("audio/ogg"),
    open: async () => Object.assign(stream, { opened: (used.isOpen = true) }),
    now: () => Date.now() + 1,
    meter: () => ({ level: () => levels.shift() ?? 0, stop: () => {} }),
    record: (_, mimeType) => {
      const stop = () => {
        used.recorder.state = "inactive";
        used.recorder.ondataavailable({ data: new Blob([used.content]) });
        used.recorder.onstop();
      };
      return (used.recorder = { mimeType, state: "recording", start: () => {}, stop });
    },
  });
}

test("a voice message has its duration and its loudest moments, and the microphone is closed", async () => {
  const page = await opened();
  const used = microphone(0, 0.5, 1);
  const recorder = await Recorder.begin(used);
  await pass(0.05);
  await pass(0.05);
  assert.equal(used.isOpen, true);
  await page.uploads.attached.sendVoice(CHAT, await recorder.finish(), "4");
  assert.equal(used.isOpen, false);
  const { files, reply_to } = waiting(page);
  assert.deepEqual([files[0].media_type, files[0].waveform, reply_to], ["audio/ogg", btoa("\x00\x80\xff"), "4"]);
  assert.match(files[0].name, /^voice-1970-.*\.ogg$/);
  await pass();
  assert.equal(page.uploads.fileIdOf(files[0]), page.server.files.get(files[0].client_file_id).file_id);
  assert.deepEqual(page.server.voice, { duration_ms: files[0].duration_ms, waveform: files[0].waveform });
  assert.equal(page.server.content(files[0].client_file_id), "Opus");
});

test("a voice message ends when it is sent, also if it waits for a message that is being kept", async () => {
  const page = await opened();
  const used = microphone();
  const voice = new VoiceMessage({ root: { invalidate() {} }, sending: page.sending }, CHAT, await Recorder.begin(used), () => {});
  let kept;
  const before = page.sending.drafts.keepNext(CHAT, () => new Promise((resolve) => (kept = resolve)));
  await pass(1);
  const sent = voice.send("");
  assert.equal(used.isOpen, false);
  await pass(20);
  assert.equal(waiting(page), undefined);
  kept();
  await Promise.all([before, sent]);
  assert.equal(waiting(page).files[0].duration_ms, 1_000);
});

test("a recording without bytes, or too short for a word, is dropped with a notice", async () => {
  const page = await opened();
  const notices = [];
  const record = async (seconds, content) => {
    const used = microphone();
    const app = { root: { invalidate() {} }, sending: page.sending, notify: (text) => notices.push(text) };
    const voice = new VoiceMessage(app, CHAT, await Recorder.begin(used), () => {});
    used.content = content;
    await pass(seconds);
    return voice.send("4");
  };
  assert.deepEqual([await record(5, ""), await record(0.4, "Opus"), await record(0.5, "Opus")], [false, false, true]);
  assert.deepEqual(notices, Array(2).fill("The recording was too short, and was not sent."));
  const sent = page.sending.waiting(CHAT);
  assert.deepEqual([sent.length, sent[0].files[0].duration_ms, page.sending.survivesReload], [1, 500, true]);
});

test("a recording that ends before its longest time says that the microphone is gone", async () => {
  const page = await opened();
  const used = microphone();
  const statusIn = (voice) => voice.view().children.find(({ props }) => props.role === "status").children[0];
  const begin = async () => new VoiceMessage({ root: { invalidate() {} }, sending: page.sending }, CHAT, await Recorder.begin(used), () => {});
  const voice = await begin();
  await pass(1);
  assert.match(statusIn(voice), /being recorded/);
  used.recorder.stop(); // the browser ends it with the last track
  assert.match(statusIn(voice), /microphone can’t be used any more/);
  const long = await begin();
  for (let minute = 0; minute < 31; minute++) mock.timers.tick(60_000);
  assert.match(statusIn(long), /longest time/);
});

test("a reload loses a voice message until it is kept or cancelled, and the page hears of both", async () => {
  const page = await opened();
  const states = [];
  page.sending.subscribe(() => states.push(page.sending.survivesReload));
  for (const end of [(voice) => voice.send(""), (voice) => voice.cancel()]) {
    const used = microphone();
    const voice = new VoiceMessage({ root: { invalidate() {} }, sending: page.sending }, CHAT, await Recorder.begin(used), () => {});
    assert.equal(page.sending.survivesReload, false);
    await pass(1);
    const ended = end(voice);
    if (ended) assert.equal(page.sending.survivesReload, false);
    await ended;
    assert.deepEqual([page.sending.survivesReload, states.at(-1)], [true, true]);
  }
});

test("a microphone that can't be recorded is closed", async () => {
  const used = microphone();
  used.record = () => {
    throw new DOMException("no such format", "NotSupportedError");
  };
  await assert.rejects(Recorder.begin(used), DOMException);
  assert.equal(used.isOpen, false);
});

test("a recording ends by itself, and a cancelled one closes the microphone", async () => {
  const levels = Array.from({ length: 640 }, (_, at) => at / 640);
  assert.equal(atob(waveformOf(levels)).length, 64);
  const used = microphone();
  const recorder = await Recorder.begin(used);
  for (let minute = 0; minute < 31; minute++) mock.timers.tick(60_000);
  assert.deepEqual([recorder.isRecording, used.isOpen], [false, false]);
  const other = microphone();
  (await Recorder.begin(other)).cancel();
  assert.equal(other.isOpen, false);
});

test("the square of an avatar stays within the picture", () => {
  const crop = new Crop(300, 200);
  assert.deepEqual(crop.square, { left: 50, top: 0, edge: 200 });
  crop.move(-1, -1);
  crop.setZoom(4);
  assert.deepEqual(crop.square, { left: 75, top: 75, edge: 50 });
  assert.deepEqual(crop.place, { width: 600, left: -150, top: -150 });
  crop.move(9, 9);
  crop.setZoom(0);
  assert.deepEqual(crop.square, { left: 100, top: 0, edge: 200 });
  crop.setZoom(99);
  assert.equal(crop.square.edge, 25);
});
