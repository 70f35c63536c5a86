// New versions of the page, and pressed notifications: the page's side and the service worker.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mock, test } from "node:test";
import vm from "node:vm";
import { Updates } from "../../../web/stores/updates.js";
import { settle } from "./fakes.js";

const WEB = new URL("../../../web/", import.meta.url);
/** The placeholder for modules and what they import. */
const MODULES = /\{\{modules ([^}]+)\}\}/;
const [OLD, NEW] = ["/assets/00000000000000aa", "/assets/00000000000000bb"];

/** The module that the tests' page loads when needed. */
const LATER = "components/chat-view.js";

/** `navigator.serviceWorker`; the test sends the worker's messages. */
function fakeContainer() {
  const update = mock.fn(async () => {});
  const container = { update, register: async () => ({ update }) };
  container.addEventListener = (_, listener) => (container.tell = (data) => listener({ data }));
  return container;
}

function started() {
  const container = fakeContainer();
  const updates = new Updates(container, `http://localhost${OLD}/main.js`);
  updates.start();
  return { container, updates };
}

test("only another version than the page's own is an update", () => {
  const { container, updates } = started();
  container.tell({ version: OLD });
  assert.equal(updates.isReady, false);
  let changes = 0;
  updates.subscribe(() => changes++);
  container.tell({ version: NEW });
  assert.deepEqual([updates.isReady, changes], [true, 1]);
});

test("the page looks for updates at most every 10 seconds", async (context) => {
  let now_ms = 5;
  context.mock.method(performance, "now", () => now_ms);
  const { container, updates } = started();
  for (now_ms of [6, 10_004, 10_005, 10_006]) await updates.check();
  assert.equal(container.update.mock.callCount(), 1);
});

test("without a service worker, or offline, looking for updates does nothing", async () => {
  const plain = new Updates(undefined, "");
  plain.start();
  await plain.check();
  const { container, updates } = started();
  container.update.mock.mockImplementation(() => Promise.reject(new TypeError("offline")));
  await updates.check();
  assert.equal(updates.isReady, false);
});

test("a pressed notification opens its chat", () => {
  const { container, updates } = started();
  const opened = [];
  updates.onOpen = (chat_id) => opened.push(chat_id);
  container.tell({ open: "d-1-2" });
  assert.deepEqual([opened, updates.isReady], [["d-1-2"], false]);
});

// ---- the service worker

const page = (assets) => `<link href="${assets}/base.css"><script src="${assets}/main.js"></script>`;

/** The service worker with a cache, and a server whose `files` the test changes; null: no connection. */
function worker(files) {
  const kept = new Map();
  const server = { files, requests: [], status: 200, stuck: false, pages: ["/"] };
  const path = (request) => new URL(request.url ?? request, "http://localhost").pathname;
  const fetch = async (request) => {
    server.requests.push(path(request));
    if (server.files === null) throw new TypeError("offline");
    if (server.stuck) await new Promise(() => {});
    const body = server.files[path(request)];
    const headers = server.pages.includes(path(request)) ? { "Content-Type": "text/html; charset=utf-8" } : {};
    return new Response(body, { status: body === undefined ? 404 : server.status, headers });
  };
  const cache = {
    match: async (request) => kept.get(path(request))?.clone(),
    put: async (request, response) => void kept.set(path(request), response),
    keys: async () => [...kept.keys()].map((url) => ({ url })),
    delete: async (request) => kept.delete(request.url),
  };
  const caches = { open: async () => cache };
  const listeners = {};
  const windows = [];
  const clients = { claim: async () => {}, matchAll: async () => windows, openWindow: mock.fn(async () => {}) };
  const location = new URL("http://localhost/sw.js");
  const self = { clients, skipWaiting: async () => {}, addEventListener: (type, one) => (listeners[type] = one) };
  const source = readFileSync(new URL("sw.js", WEB), "utf8")
    .replace("{{assets}}", NEW)
    .replace(MODULES, LATER);
  vm.runInNewContext(source, { self, fetch, location, URL, TypeError, setTimeout, caches });
  const emit = async (type, event = {}) => {
    const work = [];
    let response;
    listeners[type]({ ...event, waitUntil: (one) => work.push(one), respondWith: (one) => (response = one) });
    const served = await response;
    await settle();
    if (!server.stuck) await Promise.all(work);
    return served;
  };
  const get = (address, mode = "cors", method = "GET") => {
    const request = { url: new URL(address, "http://localhost").href, mode, method };
    return emit("fetch", { request });
  };
  const text = async (address, mode) => (await get(address, mode))?.text();
  return { server, kept, caches, clients, windows, emit, get, text };
}

const filesOf = (assets) => ({
  "/": page(assets),
  ...Object.fromEntries([["base.css", "css"], ["main.js", "js"], [LATER, "later"]].map(([path, text]) => [`${assets}/${path}`, text])),
});

test("the page opens with its files after the connection is lost, and a warm start asks for the page alone", async () => {
  const { server, emit, text } = worker(filesOf(OLD));
  await emit("install");
  server.requests.length = 0;
  assert.equal(await text("/", "navigate"), page(OLD));
  assert.equal(await text(`${OLD}/main.js`), "js");
  assert.deepEqual(server.requests, ["/"]);
  server.files = null;
  assert.equal(await text("/", "navigate"), page(OLD));
  assert.equal(await text(`${OLD}/main.js`), "js");
});

test("a new version is kept with the catalogue that the version before has used", async () => {
  const { server, kept, emit, get } = worker({ ...filesOf(OLD), [`${OLD}/languages/ar.js`]: "ar" });
  await emit("install");
  await get(`${OLD}/languages/ar.js`);
  server.files = { ...filesOf(NEW), [`${NEW}/languages/ar.js`]: "ar" };
  await get("/", "navigate");
  assert.ok(kept.has(`${NEW}/languages/ar.js`));
});

test("a later module that is missing is kept with the next opening, or by a worker of a new version that has it", async () => {
  const { server, kept, emit, get } = worker({ ...filesOf(OLD), [`${OLD}/${LATER}`]: undefined });
  await emit("install");
  server.files = filesOf(OLD);
  await get("/", "navigate");
  assert.ok(kept.has(`${OLD}/${LATER}`));
  kept.delete(`${OLD}/${LATER}`); // as after an opening with a former worker, which does not know the module
  await emit("install");
  assert.ok(kept.has(`${OLD}/${LATER}`));
});

test("a failing server, or one that needs more than 3 seconds, gets the kept page", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { server, emit, text } = worker(filesOf(OLD));
  await emit("install");
  server.status = 502;
  assert.equal(await text("/", "navigate"), page(OLD));
  server.stuck = true;
  const opening = text("/", "navigate");
  await settle();
  context.mock.timers.tick(2_999);
  assert.equal(await Promise.race([opening, settle()]), undefined);
  context.mock.timers.tick(1);
  assert.equal(await opening, page(OLD));
});

test("the server's page and files are used while the browser's storage fails", async () => {
  const { caches, text } = worker(filesOf(OLD));
  caches.open = async () => {
    throw new TypeError("the storage fails");
  };
  assert.equal(await text("/", "navigate"), page(OLD));
  assert.equal(await text(`${OLD}/main.js`), "js");
});

test("a new version is kept beside the one before it, and only when it is whole", async () => {
  const { server, kept, emit, get } = worker(filesOf(OLD));
  await emit("install");
  server.files = { ...filesOf(NEW), [`${NEW}/main.js`]: undefined };
  await get("/", "navigate");
  assert.equal(await kept.get("/").clone().text(), page(OLD));
  server.files = filesOf(NEW);
  await get("/", "navigate");
  assert.ok(kept.has(`${OLD}/main.js`) && kept.has(`${NEW}/main.js`));
  const third = "/assets/00000000000000cc";
  server.files = filesOf(third);
  await get("/", "navigate");
  assert.deepEqual([kept.has(`${OLD}/main.js`), kept.has(`${NEW}/main.js`), kept.has(`${third}/main.js`)], [false, true, true]);
});

test("the page of a proxy, such as the sign-in to a network, takes no place of the kept page, nor of a file", async () => {
  const { server, kept, emit, get } = worker(filesOf(OLD));
  await emit("install");
  kept.delete(`${OLD}/main.js`);
  server.files = { "/": "Please sign in.", [`${OLD}/main.js`]: "Please sign in." };
  server.pages = ["/", `${OLD}/main.js`];
  await get("/", "navigate");
  await get(`${OLD}/main.js`);
  server.files = filesOf(OLD);
  server.pages = ["/"];
  assert.equal(await kept.get("/").clone().text(), page(OLD));
  assert.equal(await (await get(`${OLD}/main.js`)).text(), "js");
});

test("the page of a proxy takes no place of a file that is loaded with its page", async () => {
  for (const path of ["main.js", LATER]) {
    const { server, kept, get } = worker(filesOf(OLD));
    server.pages = ["/", `${OLD}/${path}`];
    await get("/", "navigate");
    server.pages = ["/"];
    assert.deepEqual([kept.has(`${OLD}/base.css`), kept.has(`${OLD}/${path}`), kept.has("/")], [true, false, path === LATER]);
    await get("/", "navigate");
    assert.ok(Object.keys(filesOf(OLD)).every((one) => kept.has(one)), path);
  }
});

test("the API, the admin page, other pages and other servers are left to the network", async () => {
  const { get } = worker(filesOf(OLD));
  const left = [
    ["/v1/me"],
    ["/sw.js"],
    ["/admin", "navigate"],
    ["/docs", "navigate"],
    [`${OLD}/admin/main.js`],
    ["https://example.org/assets/00000000000000aa/main.js"],
    ["/", "navigate", "POST"],
    ["/"],
  ];
  for (const request of left) assert.equal(await get(...request), undefined, request[0]);
});

test("open pages learn of the new version", async () => {
  const { windows, emit } = worker(filesOf(OLD));
  const told = [];
  windows.push({ url: "http://localhost/", postMessage: (message) => told.push(message.version) });
  await emit("activate");
  assert.deepEqual(told, [NEW]);
});

test("a pressed notification opens its chat in the open page, or in a new one", async () => {
  const { windows, clients, emit } = worker(filesOf(OLD));
  const notification = { close() {}, data: { chat_id: "d-1-2" } };
  await emit("notificationclick", { notification });
  assert.equal(clients.openWindow.mock.calls[0].arguments[0], "/#d-1-2");
  const told = [];
  windows.push({ url: "http://localhost/admin" });
  windows.push({ url: "http://localhost/#x", focus: async () => told.push("focus"), postMessage: ({ open }) => told.push(open) });
  await emit("notificationclick", { notification });
  assert.deepEqual([told, clients.openWindow.mock.callCount()], [["focus", "d-1-2"], 1]);
});

/** A module without its comments in blocks. */
const sourceOf = (path) => readFileSync(new URL(path, WEB), "utf8").replace(/\/\*.*?\*\//gs, "");

/** The addresses that a module imports: `from "./a.js"` at once, `import("./a.js")` when needed. */
function importsOf(path, pattern) {
  const addresses = [...sourceOf(path).matchAll(pattern)].map(([, address]) => new URL(address, new URL(path, WEB)).href);
  const paths = addresses.map((address) => address.slice(WEB.href.length));
  return paths.filter((path) => !/^(admin|languages)\//.test(path));
}

/** Adds the modules, and all modules that they import at once. */
function addAll(found, paths) {
  for (const path of paths) if (!found.has(path)) addAll(found.add(path), importsOf(path, /\bfrom "(\.[^"]+)"/g));
  return found;
}

test("every module of the page that is loaded when needed is kept too", () => {
  const first = addAll(new Set(), ["main.js", "app.js"]); // as in index.html
  const all = new Set(first);
  const needed = new Set();
  for (const path of all) // also those that are added meanwhile
    for (const later of importsOf(path, /\bimport\("(\.[^"]+)"\)/g)) addAll(all, needed.add(later));
  for (const path of all) for (const style of sourceOf(path).match(/\bstyles\/\w+\.css/g) ?? []) needed.add(style);
  needed.delete("components/invite.js"); // its requests need a connection
  const [, later] = readFileSync(new URL("sw.js", WEB), "utf8").match(MODULES);
  assert.deepEqual(later.split(/\s+/), [...needed].filter((path) => !first.has(path)).sort());
});
