// Files of messages: kinds and sizes, placeholders, links, the lists of a chat's files, sounds, and the viewer's zoom.

import assert from "node:assert/strict";
import test from "node:test";
import { NoResponse } from "../../../web/api.js";
import { Clock } from "../../../web/clock.js";
import { showLater } from "../../../web/components/lazy-media.js";
import { choicesOf, filesView } from "../../../web/components/message-files.js";
import { barsOf, player } from "../../../web/components/player.js";
import { readBeginning } from "../../../web/components/text-file.js";
import { Zoom } from "../../../web/components/zoom.js";
import { durationText, extensionOf, kindOf, renditionFor, shapeOf, sizeText } from "../../../web/files/kinds.js";
import { FileLinks, linksOf } from "../../../web/files/links.js";
import { ChatFiles, MediaAround } from "../../../web/files/media.js";
import { firstLines, linesOf, textIn, typeOfPicked } from "../../../web/files/plain-text.js";
import { Playback } from "../../../web/files/playback.js";
import { linksIn } from "../../../web/files/text-links.js";
import { placeholder } from "../../../web/files/thumbhash.js";
import { texts } from "../../../web/languages/language.js";
import { filesText, fromEntry, fromWire, shownPlain, shownText, withChanges } from "../../../web/messages.js";
import { Chats } from "../../../web/stores/chats.js";
import { Kept } from "../../../web/stores/kept.js";
import { Sending } from "../../../web/stores/sending.js";
import { Store } from "../../../web/stores/store.js";
import { ADA, changeAt, CHAT, fakeDatabase, idAt, MIRA, settle, wireMessage } from "./fakes.js";

const PICTURE = { file_id: "1", name: "lake.jpg", media_type: "image/jpeg", size: "9", width: 1200, height: 800, thumbnails: [320, 800] };
const REPORT = { file_id: "2", name: "report.pdf", media_type: "application/pdf", size: "9" };
const VOICE = { file_id: "3", name: "voice.webm", media_type: "audio/webm", size: "9", duration_ms: 7000 };
const CLIP = { file_id: "4", name: "clip.mp4", media_type: "video/mp4", size: "9" };

const having = (minutes, files, body) => ({ ...wireMessage(minutes, { body }), text: body && { body }, files });

/** Waits for a condition, some turns of the event loop. */
async function until(isMet) {
  for (let turn = 0; !isMet() && turn < 100; turn++) await new Promise((resolve) => setTimeout(resolve));
  await settle();
}

// ---- messages

test("a message has the files of the wire and of the outbox, and loses them with its text when it is deleted", () => {
  const message = fromWire(having(1, [PICTURE], ""));
  assert.deepEqual([message.files, shownText(message)], [[PICTURE], ""]);
  assert.deepEqual(fromWire(wireMessage(1)).files, []);
  const deleted = withChanges(message, [changeAt(2, 1, { deleted: {} }, MIRA)]);
  assert.deepEqual([deleted.files, shownText(deleted)], [[], "This message was deleted"]);
  const entry = { client_id: "x", chat_id: CHAT, body: "", reply_to: "", created_ms: 5, state: "pending", error: "", first_sent_ms: 0 };
  assert.deepEqual(fromEntry({ ...entry, files: [REPORT] }, ADA).files, [REPORT]);
  assert.deepEqual(fromEntry(entry, ADA).files, []);
});

test("lists name the files of a message: their number, or the only one, before a caption", () => {
  const profiles = { mentioned: () => "" };
  for (const [files, body, text] of [
    [[PICTURE], "", "Photo"],
    [[PICTURE, PICTURE, PICTURE], "", "3 photos"],
    [[PICTURE, REPORT], "", "2 files"],
    [[REPORT], "", "report.pdf"],
    [[VOICE], "", "Voice message"],
    [[PICTURE], "The **lake**", "Photo: The lake"],
    [[], "Hello", "Hello"],
    [[], "", "This message needs a newer version of the page."],
  ])
    assert.equal(shownPlain(fromWire(having(1, files, body)), profiles), text);
  assert.equal(filesText([{ ...PICTURE, width: 0 }]), "lake.jpg"); // the server could not decode it
});

// ---- kinds and sizes

test("a picture that the server could not decode is a file, and no type of a name counts", () => {
  const kinds = [PICTURE, REPORT, VOICE, CLIP, { ...PICTURE, width: 0 }, { ...REPORT, name: "a.png" }].map(kindOf);
  assert.deepEqual(kinds, ["picture", "file", "audio", "video", "file", "file"]);
});

test("a picture is shown in the least rendition with enough pixels, and never in a shape that is hard to see", () => {
  assert.deepEqual([100, 320, 370, 640, 2_000].map((pixels) => renditionFor(PICTURE, pixels)), ["320", "320", "320", "800", ""]);
  assert.equal(renditionFor({ ...PICTURE, width: 9_000 }, 2_000), "800");
  assert.equal(renditionFor({ ...PICTURE, media_type: "image/gif" }, 100), "");
  assert.equal(renditionFor({ ...PICTURE, media_type: "image/heic" }, 2_000), "800"); // few browsers show the original
  assert.deepEqual([PICTURE, { width: 10, height: 900 }, { width: 900, height: 10 }, {}, { width: 0, height: 0 }].map(shapeOf), [1.5, 0.5, 3, 1, 1]);
});

test("sizes, durations and kinds are short", () => {
  assert.deepEqual([0, 1, 999, 1_000, 1_250_000, 123_456_789, 5e9].map(sizeText), [
    ...["0 bytes", "1 byte", "999 bytes", "1 kB", "1.3 MB", "123 MB", "5 GB"],
  ]);
  assert.deepEqual([0, 5.9, 65, 3_700].map(durationText), ["0:00", "0:05", "1:05", "61:40"]);
  assert.deepEqual(["a.tar.gz", "README", ".profile", "x.JPEG", "a.b-c"].map(extensionOf), ["GZ", "", "", "JPEG", ""]);
});

// ---- texts

const NOTE = { file_id: "5", name: "note.txt", media_type: "text/plain", size: "9" };
const bytesOf = (text) => new TextEncoder().encode(text);

test("the place of a text depends on its size alone; an empty file, and what is no text, has none", () => {
  const lines = (size, media_type = "text/plain") => linesOf({ ...NOTE, media_type, size });
  assert.deepEqual(["1", "12", "13", "85", "9000000"].map((size) => lines(size)), [1, 1, 2, 8, 8]);
  assert.deepEqual([lines("0"), lines(undefined), lines("9", "application/pdf"), lines("9", "text/html")], [0, 0, 0, 0]);
});

test("a text is UTF-8 without control characters, and may be cut within a character", () => {
  const umlaut = bytesOf("Grüße 👋🏽");
  assert.deepEqual([textIn(umlaut, false), textIn(bytesOf("\ufeffa"), false)], ["Grüße 👋🏽", "a"]);
  assert.deepEqual([textIn(umlaut.slice(0, 3), true), textIn(umlaut.slice(0, 3), false)], ["Gr", null]);
  for (const bytes of [[0xff, 0xfe, 0x41, 0], [0x47, 0xfc, 0x6e], [0x41, 0, 0x42], [7]])
    assert.equal(textIn(new Uint8Array(bytes), true), null);
});

test("the first lines of a text are cut at any end of line, and are all of it only if they fit a narrow screen", () => {
  assert.deepEqual(firstLines("one\r\ntwo\rthree\n\n", 8), { text: "one\ntwo\nthree", isAll: true });
  assert.deepEqual(firstLines("one\ntwo\nthree", 2), { text: "one\ntwo", isAll: false });
  assert.deepEqual(firstLines("x".repeat(41), 2), { text: "x".repeat(41), isAll: false });
});

test("a picked file has the type by its content that the server will find", async () => {
  const type = (content, stated) => typeOfPicked(new Blob([content]), stated);
  assert.equal(await type("{}", "application/json"), "text/plain");
  assert.equal(await type(new Uint8Array([0xff, 0xfe, 0x41, 0]), "text/plain"), "application/octet-stream");
  assert.equal(await type(new Uint8Array([0xff]), "application/pdf"), "application/pdf");
  assert.equal(await type("ü".repeat(2_100).slice(1) + "x", ""), "text/plain"); // the head ends within a character
});

test("the beginning of a file is read from this browser, else by a range of its link, which is renewed once", async (context) => {
  const requests = [];
  let answers = [];
  context.mock.method(globalThis, "fetch", async (url, { headers }) => {
    requests.push([url, headers.Range]);
    return answers.shift();
  });
  let links = 0;
  const signedIn = async (_method, _path, { files }) => ({ links: files.map(() => ({ url: `/${++links}`, expires_at_ms: 9e15 })) });
  const read = (file, app) => readBeginning({ api: { signedIn }, chats: { clock: new Clock() }, sending: {}, ...app }, fromWire(having(1, [file], "")), file, 4);
  const found = (status, text = "") => ({ status, arrayBuffer: async () => bytesOf(text).buffer });
  const local = { uploads: { bytesOf: () => new Blob(["Buy milk"]) } };
  assert.deepEqual([await read({ ...NOTE, file_id: "" }, { sending: local }), requests], [bytesOf("Buy "), []]);
  answers = [found(404), found(206, "Buy ")];
  assert.deepEqual(await read(NOTE), bytesOf("Buy "));
  assert.deepEqual(requests, [["/1", "bytes=0-3"], ["/2", "bytes=0-3"]]);
  answers = [found(404), found(404)];
  assert.equal(await read(NOTE), null);
  answers = [{ status: 0, type: "opaqueredirect" }];
  assert.equal(await read(NOTE), null); // the object store is another origin
  assert.equal(await read(NOTE, { api: { signedIn: async () => ({ links: [null] }) } }), null);
  answers = [found(503)];
  await assert.rejects(read(NOTE), NoResponse);
});

// ---- placeholders

/** Made by bff/files/pictures/thumbhash.py: red left and blue right; white above and transparent below. */
const RED_AND_BLUE = "2JYCraJwinZ4iIiHiIiIh4+H+Ih4";
const FADING = "PgiCAgBYeIB4uHcAAAAAAHd4j4iIWIg=";

test("a placeholder has the colours and the opacity of its picture, in its shape", () => {
  const decoded = (/** @type {string} */ hash, /** @type {number} */ shape) => placeholder(Buffer.from(hash, "base64"), shape);
  const wide = decoded(RED_AND_BLUE, 4 / 3);
  assert.deepEqual([wide.width, wide.height, wide.rgba.length], [32, 24, 4 * 32 * 24]);
  const at = ({ width, rgba }, x, y) => [...rgba.slice(4 * (y * width + x), 4 * (y * width + x) + 4)];
  const [[red, , blue, opaque], [otherRed, , otherBlue]] = [at(wide, 2, 12), at(wide, 29, 12)];
  assert.ok(red > 180 && blue < 90 && otherRed < 90 && otherBlue > 180 && opaque === 255, [red, blue, otherRed, otherBlue].join());
  const tall = decoded(FADING, 1 / 2);
  assert.deepEqual([tall.width, tall.height], [16, 32]);
  assert.ok(at(tall, 8, 3)[3] > 200 && at(tall, 8, 28)[3] < 50);
});

test("what is no thumbhash has no placeholder", () => {
  assert.equal(placeholder(new Uint8Array(), 1), null);
  assert.equal(placeholder(new Uint8Array(8), 1), null);
  assert.equal(placeholder(Buffer.from(RED_AND_BLUE, "base64"), Number.NaN), null);
});

// ---- links

/** Links of a server whose files 404 do not exist; `requests` has the file ids of each request. */
function fakeLinks() {
  const server = { requests: [], isAway: false, now_ms: 0 };
  const links = new FileLinks(async (files) => {
    server.requests.push(files.map(({ file_id }) => file_id));
    if (server.isAway) throw new Error("away");
    const found = files.map(({ file_id }) => (["404", "503"].includes(file_id) ? null : { url: `/${file_id}?${server.now_ms}`, expires_at_ms: String(server.now_ms + 300_000) }));
    return { links: found, not_recorded: files.flatMap(({ file_id }, at) => (file_id === "503" ? at : [])) };
  }, () => server.now_ms);
  return { server, links };
}

test("links are requested together, 100 at most, each once, and kept until shortly before they expire", async () => {
  const { server, links } = fakeLinks();
  const many = Array.from({ length: 150 }, (_, at) => links.get({ file_id: String(at) }));
  const again = links.get({ file_id: "7" });
  assert.deepEqual([(await Promise.all(many))[149], await again], ["/149?0", "/7?0"]);
  assert.deepEqual(server.requests.map(({ length }) => length), [100, 50 + 1]);
  server.now_ms = 269_000;
  assert.equal(await links.get({ file_id: "149" }), "/149?0");
  server.now_ms = 271_000;
  assert.equal(await links.get({ file_id: "149" }), "/149?271000");
  assert.equal(server.requests.length, 3);
});

test("a file in many messages is requested in 10 of them at once", async () => {
  const { server, links } = fakeLinks();
  const same = Array.from({ length: 25 }, (_, at) => links.get({ file_id: "7", chat_id: CHAT, message_id: String(at + 1) }));
  const other = links.get({ file_id: "8" });
  assert.deepEqual([new Set(await Promise.all(same)), await other], [new Set(["/7?0"]), "/8?0"]);
  assert.deepEqual(server.requests.map(({ length }) => length), [10, 10, 5 + 1]);
});

test("a file that the user may not read has no link, and a link that did not work is requested again", async () => {
  const { server, links } = fakeLinks();
  assert.deepEqual(await Promise.all([links.get({ file_id: "404" }), links.get({ file_id: "1" })]), ["", "/1?0"]);
  assert.equal(await links.get({ file_id: "404" }), "");
  server.now_ms = 1;
  links.forget({ file_id: "1" });
  assert.equal(await links.get({ file_id: "1" }), "/1?1");
});

test("a link is kept until it expires by the server's clock, whatever that of the device shows", async (context) => {
  context.mock.timers.enable({ apis: ["Date"], now: 7_200_000 });
  const [chats, requests] = [{ clock: new Clock() }, []];
  const signedIn = async (_method, _path, { files }) => {
    requests.push(files);
    return { links: files.map(() => ({ url: "/1", expires_at_ms: String(chats.clock.now_ms() + 300_000) })) };
  };
  for (const server_ms of [1, 14_400_000]) {
    requests.length = 0;
    chats.clock.set(server_ms);
    const links = linksOf({ api: { signedIn }, chats });
    for (const passed_ms of [0, 200_000, 100_000]) {
      context.mock.timers.tick(passed_ms);
      await links.get({ file_id: String(server_ms) });
    }
    assert.equal(requests.length, 2);
  }
});

test("a file whose message is not recorded yet has no link, and keeps no other one from its own", async () => {
  const { links } = fakeLinks();
  const [gone, found, later] = await Promise.allSettled(["404", "1", "503"].map((file_id) => links.get({ file_id })));
  assert.deepEqual([gone.value, found.value, later.status, later.reason.code], ["", "/1?0", "rejected", "unavailable"]);
});

test("a picture of a message that is not recorded yet keeps its place, and is shown once it is", async (context) => {
  const { video: picture, app } = newVideo(context);
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const waiting = [{ links: [null], not_recorded: [0] }, { links: [null], not_recorded: [0] }];
  const { signedIn } = app.api;
  app.api.signedIn = async () => waiting.shift() ?? (await signedIn());
  showLater(app, picture, PICTURE, { file_id: PICTURE.file_id });
  for (let turn = 0; !picture.src && turn < 20; turn++) {
    context.mock.timers.tick(1_000);
    for (let tasks = 0; tasks < 20; tasks++) await null;
  }
  assert.deepEqual([picture.src, picture.parentElement.state, waiting], ["/1", "", []]);
});

test("without a response every caller learns it, and the next one requests again", async () => {
  const { server, links } = fakeLinks();
  server.isAway = true;
  const failed = await Promise.allSettled([links.get({ file_id: "1" }), links.get({ file_id: "2" })]);
  assert.deepEqual(failed.map(({ status }) => status), ["rejected", "rejected"]);
  server.isAway = false;
  assert.equal(await links.get({ file_id: "1" }), "/1?0");
});

// ---- lists of a chat's files

/** The stores of Ada, with pages of older files by the id before which they are. */
function newApp(pages = {}) {
  const requests = [];
  const signedIn = async (_, path) => {
    requests.push(path);
    const page = pages[new URL(path, "http://x").searchParams.get("before") ?? ""];
    if (!page) throw new Error("away");
    return page;
  };
  const newest = [having(7, [PICTURE], "seven"), having(8, [], "eight"), having(9, [CLIP, REPORT], "nine")];
  const messages = async () => ({ messages: newest.map((message) => ({ message })), has_older: true });
  const api = { signedIn, messages, profiles: async () => ({ profiles: [] }), chats: async () => ({}) };
  const chats = new Chats(api, { user_id: ADA, name: "ada", display_name: "Ada" });
  const sending = new Sending(chats, new Kept(fakeDatabase()), { send: () => false }, api);
  return { api, chats, sending, requests };
}

const pageOf = (has_older, ...messages) => ({ messages: messages.map((message) => ({ message })), has_older });
const deletion = (target) => changeAt(99, target, { deleted: {} }, MIRA);

test("a list has the pages of a chat's files, without those that are deleted meanwhile, and repeats a failed page", async () => {
  const pages = { "": pageOf(true, having(5, [PICTURE], ""), having(4, [PICTURE], "")) };
  const app = newApp(pages);
  const list = new ChatFiles(app, CHAT, "media");
  const shown = () => list.messages.map(({ message_id }) => message_id);
  await list.loadOlder();
  await list.loadOlder();
  assert.deepEqual([shown(), list.phase, list.hasOlder], [[idAt(5), idAt(4)], "failed", true]);
  pages[idAt(4)] = pageOf(false, having(3, [PICTURE], ""));
  await list.loadOlder();
  assert.deepEqual([shown(), list.phase, list.hasOlder], [[idAt(5), idAt(4), idAt(3)], "idle", false]);
  app.chats.change(deletion(4));
  assert.deepEqual(shown(), [idAt(5), idAt(3)]);
  assert.equal(app.requests[0], `/v1/chats/${CHAT}/files?class=media&limit=50`);
});

test("the viewer goes through the pictures and videos of the loaded messages, and of older ones before them", async () => {
  const app = newApp({ [idAt(7)]: pageOf(false, having(5, [PICTURE, REPORT, CLIP], ""), having(3, [PICTURE], "")) });
  app.chats.open(CHAT);
  await settle();
  const [, , newest] = app.chats.conversations.of(CHAT).messages;
  const around = new MediaAround(app, newest);
  const shown = () => around.items.map(({ message, file }) => `${Number(BigInt(message.message_id) >> 22n) / 60_000} ${file.name}`);
  assert.deepEqual([shown(), around.hasOlder], [["7 lake.jpg", "9 clip.mp4"], true]);
  await around.loadOlder();
  assert.deepEqual(shown(), ["3 lake.jpg", "5 lake.jpg", "5 clip.mp4", "7 lake.jpg", "9 clip.mp4"]);
  assert.equal(around.hasOlder, false);
  app.chats.change(deletion(7));
  assert.deepEqual(shown(), ["3 lake.jpg", "5 lake.jpg", "5 clip.mp4", "9 clip.mp4"]);
});

test("the links of a message are those of its newest text, each once, also in lists and quotes, and none in code", () => {
  const body = "https://a.test https://a.test `https://code.test`\n> - **https://b.test/x**\n1. [name](https://c.test)\n[m](mailto:a@b.test)";
  assert.deepEqual(linksIn(fromWire(wireMessage(1, { body }))), ["https://a.test", "https://b.test/x", "https://c.test"]);
  const edited = withChanges(fromWire(wireMessage(1, { body })), [changeAt(2, 1, { edited: { text: { body: "none" } } }, MIRA)]);
  assert.deepEqual(linksIn(edited), []);
});

// ---- videos

test("a video goes on with another link each time that one expires; one that is broken is unplayable", async (context) => {
  context.mock.timers.enable({ apis: ["Date"], now: Date.now() });
  const requests = [];
  context.mock.method(globalThis, "fetch", async (url, { method }) => requests.push(`${method} ${url}`) && { status: 200 });
  const { video, app } = newVideo(context);
  showLater(app, video, CLIP, { file_id: CLIP.file_id });
  await until(() => video.src === "/1");
  await video.play();
  const expired = async (at, next) => {
    context.mock.timers.tick(600_000);
    video.currentTime = at;
    video.dispatchEvent(new Event("error"));
    await until(() => video.src === next || video.parentElement.state);
    return [video.src, video.currentTime, video.paused, video.parentElement.state];
  };
  assert.deepEqual(await expired(0, "/2"), ["/2", 0, false, ""]);
  assert.deepEqual(await expired(600, "/3"), ["/3", 600, false, ""]);
  video.pause();
  assert.deepEqual(await expired(700, "/4"), ["/4", 700, true, ""]);
  Object.assign(video, { error: { code: 3 } });
  video.dispatchEvent(new Event("error"));
  await until(() => video.parentElement.state);
  assert.deepEqual([video.parentElement.state, requests], ["unplayable", ["HEAD /4"]]);
});

/** Lets the time of a test pass, with all that is due; its clock too. */
async function pass(context, seconds) {
  for (let turn = 0; turn <= seconds; turn++) {
    if (turn) context.mock.timers.tick(1_000);
    for (let tasks = 0; tasks < 30; tasks++) await null;
  }
}

test("while the file store is away, a video and a picture are loaded again with growing pauses, until their file is gone", async (context) => {
  for (const file of [CLIP, PICTURE]) {
    context.mock.timers.enable({ apis: ["Date", "setTimeout"], now: Date.now() });
    const { video: element, app } = newVideo(context);
    let answer = async () => ({ status: 503 });
    context.mock.method(globalThis, "fetch", () => answer());
    if (file === PICTURE) globalThis.HTMLMediaElement = /** @type {any} */ (class {});
    const loads = [];
    const start_ms = Date.now();
    const load = (src) => {
      element.loaded = src;
      loads.push(Math.round((Date.now() - start_ms) / 1_000));
      queueMicrotask(() => element.dispatchEvent(new Event("error")));
    };
    Object.defineProperty(element, "src", { get: () => element.loaded, set: load });
    showLater(app, element, file, { file_id: file.file_id });
    await pass(context, 10);
    answer = async () => ({ status: 429 });
    await pass(context, 20);
    answer = () => Promise.reject(new TypeError("network"));
    await pass(context, 60);
    assert.deepEqual(loads, [1, 2, 7, 17, 37, 38, 68, 69], file.name); // twice with a link that was renewed
    assert.equal(element.parentElement.state, "");
    answer = async () => ({ status: 404 });
    await pass(context, 30);
    assert.equal(element.parentElement.state, "gone");
    context.mock.timers.reset();
    context.mock.restoreAll();
  }
});

test("a video that fails once more although the server is back is loaded again, and plays on where it was", async (context) => {
  context.mock.timers.enable({ apis: ["Date", "setTimeout"], now: Date.now() });
  const { video, app } = newVideo(context);
  let status = 503;
  context.mock.method(globalThis, "fetch", async () => ({ status }));
  showLater(app, video, CLIP, { file_id: CLIP.file_id });
  await pass(context, 1);
  await video.play();
  video.currentTime = 90;
  const fail = async () => {
    video.dispatchEvent(new Event("error"));
    await pass(context, 11);
    return [video.currentTime, video.paused, video.parentElement.state];
  };
  for (status of [503, 503, 200]) assert.deepEqual(await fail(), [90, false, ""]);
  video.dispatchEvent(new Event("loadedmetadata"));
  Object.assign(video, { error: { code: 3 } });
  await fail();
  assert.deepEqual(await fail(), [90, false, "unplayable"]);
});

test("a video that the server has, and is too busy to send, is loaded again a few times, and is unplayable only then", async (context) => {
  context.mock.timers.enable({ apis: ["Date", "setTimeout"], now: Date.now() });
  const { video, app } = newVideo(context);
  context.mock.method(globalThis, "fetch", async () => ({ status: 200 })); // HEAD needs no place of a download
  showLater(app, video, CLIP, { file_id: CLIP.file_id });
  await pass(context, 1);
  const states = [];
  for (const code of [4, 4, 2, 4, 4]) {
    Object.assign(video, { error: { code } });
    video.dispatchEvent(new Event("error"));
    await pass(context, 6);
    states.push(video.parentElement.state);
  }
  assert.deepEqual(states, ["", "", "", "", "unplayable"], "the first one renews the address");
});

test("a video whose link can't be renewed without a connection goes on where it was once there is one", async (context) => {
  context.mock.timers.enable({ apis: ["Date", "setTimeout"], now: Date.now() });
  const { video, app } = newVideo(context);
  const { signedIn } = app.api;
  showLater(app, video, CLIP, { file_id: CLIP.file_id });
  await pass(context, 1);
  await video.play();
  video.currentTime = 600;
  app.api.signedIn = async () => Promise.reject(new NoResponse("away"));
  video.dispatchEvent(new Event("error"));
  await pass(context, 60);
  assert.equal(video.src, "/1");
  app.api.signedIn = signedIn;
  await pass(context, 10);
  assert.deepEqual([video.src, video.currentTime, video.paused], ["/2", 600, false]);
});

test("a video that was shown before it was uploaded is loaded from the server once this browser has its bytes no more", async (context) => {
  const { video, app } = newVideo(context);
  const ids = [];
  app.sending = { uploads: { urlOf: () => "blob:1", fileIdOf: (file) => (ids.push(file.client_file_id), CLIP.file_id) } };
  showLater(app, video, { ...CLIP, file_id: "", client_file_id: "c1" }, { file_id: "" });
  video.currentTime = 9;
  video.dispatchEvent(new Event("error"));
  await until(() => video.src === "/1");
  assert.deepEqual([video.src, video.currentTime, video.parentElement.state, ids], ["/1", 9, "", ["c1"]]);
});

test("a picture that the server is too busy to send is loaded again a few times, and is gone only then", async (context) => {
  const { video: picture, app } = newVideo(context);
  context.mock.method(globalThis, "fetch", async () => ({ status: 200 }));
  globalThis.HTMLMediaElement = /** @type {any} */ (class {});
  let loads = 0;
  Object.defineProperty(picture, "src", { set: () => loads++ });
  picture.getAttribute = () => "/1";
  showLater(app, picture, PICTURE, { file_id: PICTURE.file_id });
  await until(() => loads === 1);
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const fail = async () => {
    picture.dispatchEvent(new Event("error"));
    for (let turn = 0; turn < 10; turn++) {
      context.mock.timers.tick(1_000);
      for (let tasks = 0; tasks < 20; tasks++) await null;
    }
    return [loads, picture.parentElement.state];
  };
  for (const times of [2, 3, 4, 5]) assert.deepEqual(await fail(), [times, ""]);
  picture.dispatchEvent(new Event("load"));
  for (const times of [6, 7, 8]) assert.deepEqual(await fail(), [times, "loaded"]);
  assert.deepEqual(await fail(), [8, "gone"]);
});

/** A video near the view, as a browser has it, and what it needs of the page. */
function newVideo(context) {
  globalThis.HTMLMediaElement = /** @type {any} */ (FakeVideo);
  globalThis.IntersectionObserver = /** @type {any} */ (
    class {
      #seen;
      constructor(seen) {
        this.#seen = seen;
      }
      observe = (target) => this.#seen([{ target, isIntersecting: true }]);
      unobserve = () => {};
    }
  );
  context.after(() => {
    delete globalThis.HTMLMediaElement;
    delete globalThis.IntersectionObserver;
  });
  let links = 0;
  const fetched = async () => ({ links: [{ url: `/${++links}`, expires_at_ms: Date.now() + 300_000 }] });
  return { video: new FakeVideo(), app: { chats: { clock: new Clock() }, sending: {}, api: { signedIn: fetched } } };
}

// ---- sounds

/** A sound whose address the test gives. */
function slowSound(sound) {
  let arrive;
  const address = new Promise((resolve) => (arrive = resolve));
  return { slow: { ...sound("slow"), address: () => address }, arrive: () => arrive("/slow/1") };
}

/** Like an audio element, which the test drives. */
class FakeAudio extends EventTarget {
  [/** @type {any} */ ("src")] = "";
  currentTime = 0;
  duration = Number.NaN;
  paused = true;
  ended = false;
  playbackRate = 1;
  getAttribute = () => this.src;
  removeAttribute = () => void (this.src = "");
  pause = () => void (this.paused = true);
  play = async () => void (this.paused = false);
}

/** An element that begins anew with each address. */
class FakeVideo extends FakeAudio {
  #src = "";
  isConnected = true;
  parentElement = { state: "", setAttribute: (_, state) => void (this.parentElement.state = state) };
  constructor() {
    super();
    Object.defineProperty(this, "src", { get: () => this.#src, set: (src) => void this.#begin(src) });
  }
  #begin(src) {
    Object.assign(this, { currentTime: 0, paused: true });
    this.#src = src;
  }
}

function newPlayback() {
  const audio = new FakeAudio();
  const playback = new Playback(/** @type {any} */ (audio));
  let links = 0;
  const sound = (key) => ({ key, duration: 7, address: async () => (key === "gone" ? "" : `/${key}/${++links}`), forget: () => {} });
  return { audio, playback, sound };
}

test("one sound plays at a time, from where it was moved to, at the chosen speed", async () => {
  const { audio, playback, sound } = newPlayback();
  const [one, other] = [sound("one"), sound("other")];
  await playback.toggle(one);
  audio.currentTime = 3;
  assert.deepEqual(playback.of("one"), { isPlaying: true, at: 3, duration: 7 });
  playback.faster();
  await playback.toggle(one);
  assert.equal(playback.of("one").isPlaying, false);
  await playback.seek(other, 2);
  assert.deepEqual([playback.of("one"), playback.of("other").at, audio.playbackRate, audio.paused], [null, 2, 1.5, false]);
  playback.faster();
  playback.faster();
  assert.deepEqual([playback.rate, audio.playbackRate], [1, 1]);
  playback.stop();
  assert.deepEqual([audio.paused, audio.src], [true, ""]);
});

test("a sound whose link has expired goes on with another one; one that never works, or no link, ends it", async () => {
  const { audio, playback, sound } = newPlayback();
  let failures = 0;
  playback.onFailed = () => failures++;
  await playback.toggle(sound("one"));
  audio.currentTime = 4;
  audio.dispatchEvent(new Event("error"));
  await settle();
  assert.deepEqual([audio.src, audio.currentTime, failures], ["/one/2", 4, 0]);
  audio.dispatchEvent(new Event("error"));
  await settle();
  assert.deepEqual([playback.of("one"), failures], [null, 1]);
  await playback.toggle(sound("gone"));
  assert.deepEqual([playback.of("gone"), failures], [null, 2]);
});

test("a long sound goes on with another link each time that one expires, and stays paused", async (context) => {
  context.mock.timers.enable({ apis: ["Date"], now: Date.now() });
  const { audio, playback, sound } = newPlayback();
  let failures = 0;
  playback.onFailed = () => failures++;
  await playback.toggle(sound("one"));
  const expired = async (at) => {
    context.mock.timers.tick(600_000);
    audio.currentTime = at;
    audio.dispatchEvent(new Event("error"));
    await settle();
    return [audio.src, audio.currentTime, audio.paused, failures];
  };
  assert.deepEqual(await expired(600), ["/one/2", 600, false, 0]);
  assert.deepEqual(await expired(1200), ["/one/3", 1200, false, 0]);
  audio.pause();
  assert.deepEqual(await expired(1800), ["/one/4", 1800, true, 0]);
});

test("a sound whose address arrives after another one was chosen neither moves nor plays that one", async () => {
  const { audio, playback, sound } = newPlayback();
  const [{ slow, arrive }, known] = [slowSound(sound), sound("known")];
  const moved = playback.seek(slow, 5);
  await playback.toggle(known);
  await playback.toggle(known);
  audio.currentTime = 1;
  arrive();
  await moved;
  assert.deepEqual([audio.src, audio.currentTime, audio.paused, playback.of("slow")], ["/known/1", 1, true, null]);
});

test("a sound that is pressed twice before its address arrives does not play the one before it", async () => {
  const { audio, playback, sound } = newPlayback();
  await playback.toggle(sound("before"));
  const { slow, arrive } = slowSound(sound);
  const played = [playback.toggle(slow), playback.toggle(slow), playback.seek(slow, 3)];
  await settle();
  assert.equal(audio.paused, true);
  arrive();
  await Promise.all(played);
  assert.deepEqual([audio.src, audio.currentTime, audio.paused], ["/slow/1", 3, false]);
});

test("an expired address that is renewed after another sound was chosen leaves that one alone", async () => {
  const { audio, playback, sound } = newPlayback();
  const { slow, arrive } = slowSound(sound);
  const addresses = [Promise.resolve("/slow/0"), slow.address()];
  await playback.toggle({ ...slow, address: () => addresses.shift() });
  audio.currentTime = 4;
  audio.dispatchEvent(new Event("error"));
  await playback.toggle(sound("other"));
  audio.currentTime = 1;
  arrive();
  await settle();
  assert.deepEqual([audio.src, audio.currentTime, playback.of("other").isPlaying], ["/other/1", 1, true]);
});

/** Records the audio elements that the page makes. */
function useAudio(context) {
  const made = [];
  globalThis.Audio = class extends FakeAudio {
    constructor() {
      super();
      made.push(this);
    }
  };
  context.after(() => delete globalThis.Audio);
  return made;
}

test("a sound ends when its message is deleted, hidden or taken back, by this user or another one", async (context) => {
  const made = useAudio(context);
  const isPlaying = async (end) => {
    const app = { ...newApp(), sync: new Store(), root: { invalidate() {} } };
    app.sending.uploads = { urlOf: () => "blob:1", progressOf: () => null };
    app.chats.open(CHAT);
    await settle();
    await app.sending.send(CHAT, "", { files: [{ ...VOICE, file_id: "", client_file_id: "c1" }] });
    const [first] = app.chats.conversations.of(CHAT).messages;
    const [waiting] = app.sending.waiting(CHAT);
    const message = end === takeBack ? waiting : first;
    const [play] = player(app, message, message.files[0], 0);
    play.props.onclick();
    await settle();
    app.chats.change(changeAt(98, 8, { deleted: {} }, MIRA)); // another message
    const before = !made.at(-1).paused;
    end(app);
    return [before, !made.at(-1).paused];
  };
  const deleteForAll = ({ chats }) => chats.change(deletion(7));
  const hide = ({ sending }) => sending.set({ chat_id: CHAT, message_id: idAt(7) }, "hidden", true);
  const takeBack = ({ sending }) => sending.discard(sending.waiting(CHAT)[0]);
  for (const end of [deleteForAll, hide, takeBack]) assert.deepEqual(await isPlaying(end), [true, false], end.name);
});

test("a finger that begins to scroll on a waveform moves no sound; a click does", async (context) => {
  const made = useAudio(context);
  const chats = Object.assign(new Store(), { openChat: CHAT });
  const sending = Object.assign(new Store(), { uploads: { urlOf: () => "blob:1" } });
  const app = { chats, sync: new Store(), sending, root: { invalidate() {} } };
  const file = { ...VOICE, client_file_id: "c1" };
  const [, sound] = player(app, fromWire(wireMessage(1)), file, 0);
  const { props } = sound.children.find(({ props }) => props.role === "slider");
  const event = { clientX: 60, currentTarget: { getBoundingClientRect: () => ({ left: 10, width: 100 }) } };
  for (const type of ["pointerdown", "pointercancel", "contextmenu"]) props[`on${type}`]?.(event);
  assert.deepEqual(made, []);
  props.onclick(event);
  await settle();
  assert.deepEqual(made.map(({ paused, currentTime }) => [paused, currentTime]), [[false, 3.5]]);
});

test("a waveform of any length has the same number of bars, and the loudest is the highest", () => {
  for (const length of [0, 1, 5, 56, 64]) assert.equal(barsOf(Array.from({ length }, (_, at) => at)).length, 56);
  const bars = barsOf(Array.from({ length: 64 }, (_, at) => (at === 40 ? 100 : 50)));
  assert.deepEqual([Math.max(...bars), bars.indexOf(1), barsOf([])[0]], [1, 35, 0]);
});

// ---- downloads and copies

/** The names of the buttons in a view. */
const buttonsIn = (view) =>
  [view].flat(Infinity).flatMap((part) => {
    if (!part?.props) return [];
    const { props: { "aria-label": label, title }, tag, children } = part;
    return [...(tag === "button" ? [label ?? title] : []), ...buttonsIn(children)];
  });

test("each file of a message can be downloaded: a sound by a button, a voice message and a video by the menu", () => {
  const app = { chats: {}, sending: { uploads: null } };
  const song = (name, file_id) => ({ file_id, name, media_type: "audio/mpeg", size: "9" });
  const buttons = (...files) => buttonsIn(filesView(app, fromWire(having(1, files, "")), 0, () => {}));
  const choices = (...files) => choicesOf(app, fromWire(having(1, files, ""))).map(({ label }) => label);
  const songs = [song("a.mp3", "1"), song("b.mp3", "2")];
  const named = (names) => names.filter((name) => name.startsWith("Download"));
  assert.deepEqual(named(buttons(...songs)), ["Download a.mp3", "Download b.mp3"]);
  assert.deepEqual(named(buttons(songs[0])), ["Download a.mp3"]);
  assert.deepEqual(named(buttons({ ...songs[0], file_id: "" }, VOICE)), []);
  assert.deepEqual(choices(...songs, VOICE, REPORT), ["Download a.mp3", "Download b.mp3", "Download voice.webm"]);
  assert.deepEqual(choices(CLIP, PICTURE, { ...CLIP, file_id: "" }), ["Download clip.mp4"]);
  assert.deepEqual([choices(CLIP), choices(PICTURE), choices({ ...CLIP, file_id: "" })], [["Download"], ["Copy photo", "Download"], []]);
});

test("a picture whose pixels the page can't read, as those from the object store, is copied as its largest thumbnail", async (context) => {
  const copied = [];
  class FakeImage {
    decode = async () => void (this.src || assert.fail("no address"));
  }
  class FakeCanvas {
    getContext = () => ({ drawImage: (image) => (this.src = image.src) });
    convertToBlob = async () => (this.src === "/7/" ? Promise.reject(new DOMException("tainted", "SecurityError")) : this.src);
  }
  const clipboard = { write: async ([item]) => copied.push(await item["image/png"]) };
  const fakes = { Image: FakeImage, OffscreenCanvas: FakeCanvas, ClipboardItem: function (item) { return item; }, navigator: { clipboard } };
  for (const [name, value] of Object.entries(fakes)) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true });
    context.after(() => (before ? Object.defineProperty(globalThis, name, before) : delete globalThis[name]));
  }
  const signedIn = async (_method, _path, { files }) => ({
    links: files.map(({ file_id, rendition = "" }) => ({ url: `/${file_id}/${rendition}`, expires_at_ms: 9e15 })),
  });
  const notices = [];
  const app = { api: { signedIn }, chats: { clock: new Clock() }, sending: {}, notify: (text) => notices.push(text) };
  const pictures = [{ file_id: "6" }, { file_id: "7" }, { file_id: "7", thumbnails: [] }];
  for (const [at, file] of pictures.entries()) {
    choicesOf(app, fromWire(having(1, [{ ...PICTURE, ...file }], "")))[0].choose();
    while (notices.length <= at) await settle();
  }
  assert.deepEqual(copied, ["/6/", "/7/800"]);
  assert.deepEqual(notices, ["The photo is copied.", "The photo is copied.", texts.message.notCopied]);
});

// ---- the viewer

test("a picture is enlarged within limits, moved no farther than its edges, and then turned over by none of these keys", (context) => {
  const [transforms, turns] = [[], []];
  let resized = () => {};
  globalThis.ResizeObserver = /** @type {any} */ (class {
    constructor(callback) {
      resized = callback;
    }
    observe() {}
  });
  context.after(() => Reflect.deleteProperty(globalThis, "ResizeObserver"));
  const zoom = new Zoom({ changed: () => {}, turn: (by) => turns.push(by), close: () => {} });
  const stage = { addEventListener: () => {}, clientWidth: 400, clientHeight: 300, getBoundingClientRect: () => ({ left: 0, top: 0, width: 400, height: 300 }) };
  zoom.listen(/** @type {any} */ (stage));
  zoom.move(/** @type {any} */ ({ offsetWidth: 400, offsetHeight: 200, style: { setProperty: (_, value) => transforms.push(value) } }));
  assert.equal(zoom.keyPressed("ArrowRight"), false); // the viewer turns over
  for (let times = 0; times < 20; times++) zoom.keyPressed("+");
  assert.deepEqual([zoom.scale, zoom.canGrow], [8, false]);
  zoom.keyPressed("0");
  zoom.by(2);
  for (let times = 0; times < 20; times++) assert.equal(zoom.keyPressed("ArrowRight"), true);
  assert.equal(transforms.at(-1), "translate(-200px, 0px) scale(2)");
  zoom.by(2, { x: 200, y: 0 }); // the point at the right edge stays there
  assert.equal(transforms.at(-1), "translate(-600px, 0px) scale(4)");
  stage.clientWidth = 1_000;
  resized();
  assert.equal(transforms.at(-1), "translate(-300px, 0px) scale(4)");
  zoom.reset();
  assert.deepEqual([transforms.at(-1), turns], ["none", []]);
});
