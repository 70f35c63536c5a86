// The service worker of the chat page: keeps the page and its files in this browser, so that it opens without a
// connection. Everything else (the API, sessions, the admin page, `/docs`) goes directly to the network.

/** The path of the newest version, filled in by `bff/site.py`: a new path makes browsers reinstall this script. */
const VERSION = "{{assets}}";
/** The only cache: the page that was opened last, the files of its version, and the files of the version before. */
const CACHE = "rookery";
/**
 * Modules that the page loads when needed, also without a connection, in addition to the catalogues in use. The modules
 * that they import are filled in as well.
 */
const LATER = `{{modules components/attachments.js components/chat-notifications.js components/chat-view.js
  components/completion.js components/date-dialog.js components/delete-dialog.js components/edits-dialog.js
  components/emoji-picker.js components/files-dialog.js components/forward-dialog.js components/group-dialogs.js
  components/listed-dialog.js components/message-files.js components/people-notice.js components/profile-dialogs.js
  components/read-all.js components/refused-change.js components/settings.js components/start.js components/text-file.js
  components/text-viewer.js components/viewer.js components/voice.js files/server.js files/uploads.js sound.js
  stores/channel-members.js stores/channels.js stores/refused-mentions.js stores/replaced-sign-in.js
  styles/attachments.css styles/chat.css styles/files.css}}`.split(" ");
/** If the server takes longer, in milliseconds, the kept page is opened. */
const SLOW_MS = 3_000;
/** The files of a version, without the admin page's files: the admin page needs a connection. */
const FILE = /^\/assets\/[0-9a-f]{16}\/(?!admin\/)/;

/**
 * The used part of the worker's scope: the type checker knows only a page's scope.
 * @typedef {object} Client
 * @property {string} url
 * @property {() => Promise<unknown>} focus
 * @property {(message: object) => void} postMessage
 */
/**
 * @typedef {object} Scope
 * @property {{
 *   claim: () => Promise<void>,
 *   matchAll: (options: object) => Promise<Client[]>,
 *   openWindow: (address: string) => Promise<unknown>,
 * }} clients
 * @property {() => Promise<void>} skipWaiting
 * @property {(type: string, listener: (event: any) => void) => void} addEventListener
 */
const scope = /** @type {Scope} */ (/** @type {unknown} */ (self));

scope.addEventListener("install", (event) => {
  // The worker need not wait until open pages close: their files and the new version's files have different paths.
  event.waitUntil(fetch("/", { cache: "no-cache" }).then(keep).then(() => scope.skipWaiting()));
});

scope.addEventListener("activate", (event) => event.waitUntil(begin()));

scope.addEventListener("fetch", (event) => {
  const { method, mode, url } = event.request;
  const { origin, pathname } = new URL(url);
  if (method !== "GET" || origin !== location.origin) return;
  if (mode === "navigate" && pathname === "/") event.respondWith(openPage(event));
  else if (FILE.test(pathname)) event.respondWith(file(event));
});

// A notification with `data: {chat_id}` opens its chat, in a page that is open or in a new one.
scope.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(openChat(event.notification.data?.chat_id ?? ""));
});

/** Serves the open pages too, and sends them the newest version. */
async function begin() {
  await scope.clients.claim();
  for (const client of await pages()) client.postMessage({ version: VERSION });
}

const pages = () => scope.clients.matchAll({ type: "window", includeUncontrolled: true });

/**
 * The page from the server; the kept page if the server is away, failing or slow.
 * @param {any} event
 * @returns {Promise<Response>}
 */
async function openPage(event) {
  const kept = await keptOf("/");
  const loading = fetch(event.request);
  event.waitUntil(loading.then((page) => keep(page.clone())).catch(() => {}));
  if (!kept) return loading;
  const usable = loading.then((page) => (page.status < 500 ? page : kept)).catch(() => kept);
  return Promise.race([usable, sleep(SLOW_MS).then(() => kept)]);
}

/**
 * A file of a version, from the cache if the cache has it.
 * @param {any} event
 * @returns {Promise<Response>}
 */
async function file(event) {
  const kept = await keptOf(event.request);
  if (kept) return kept;
  const response = await fetch(event.request);
  if (isFile(response)) event.waitUntil(keepFile(event.request, response.clone()).catch(() => {}));
  return response;
}

/**
 * The cached response to a request; undefined without one, or if the storage of this browser fails.
 * @param {RequestInfo} request
 */
const keptOf = (request) => caches.open(CACHE).then((cache) => cache.match(request)).catch(() => undefined);

/** @param {Request} request @param {Response} response */
async function keepFile(request, response) {
  const cache = await caches.open(CACHE);
  await cache.put(request, response);
}

/**
 * Whether a response has the file that was requested. A proxy's page in its place, such as the sign-in to a network, would
 * stay as long as the version.
 * @param {Response} response
 */
const isFile = ({ ok, headers }) => ok && !headers.get("Content-Type")?.startsWith("text/html");

/**
 * Keeps a page with its scripts, styles, drawings and later modules, and drops the files of all versions older than the
 * previous one.
 * @param {Response} page
 * @throws {TypeError} if it is not this page, or a file could not be loaded; then the previous page stays
 */
async function keep(page) {
  const html = await page.clone().text();
  const version = versionOf(html);
  if (!page.ok || !version) throw new TypeError(`the page has the status ${page.status} and the version ${version}`);
  const cache = await caches.open(CACHE);
  const before = versionOf(await (await cache.match("/"))?.text());
  const kept = new Set((await cache.keys()).map(({ url }) => new URL(url, location.origin).pathname));
  const files = [...new Set(html.match(/\/assets\/[^"]+\.(?:js|css|svg)/g))];
  await Promise.all(files.filter((path) => !kept.has(path)).map((path) => add(cache, path)));
  await cache.put("/", page);
  const catalogues = [...kept].flatMap((path) => path.split(`${before}/languages/`)[1] ?? []);
  const later = [...LATER, ...catalogues.map((name) => `languages/${name}`)].map((path) => `${version}/${path}`);
  const missing = later.filter((path) => !kept.has(path) && !files.includes(path));
  // This version needs no module that it does not have. The next opening loads the modules again that failed now.
  await Promise.all(missing.map((path) => add(cache, path).catch(() => {})));
  if (version === before) return;
  for (const request of await cache.keys()) {
    const owner = versionOf(request.url);
    if (owner && owner !== version && owner !== before) await cache.delete(request);
  }
}

/** @param {Cache} cache @param {string} path of a file @throws {TypeError} if it could not be loaded */
async function add(cache, path) {
  const response = await fetch(path);
  if (!isFile(response)) throw new TypeError(path);
  await cache.put(path, response);
}

/** @param {string} [text] of a page, or a path */
const versionOf = (text = "") => text.match(/\/assets\/[0-9a-f]{16}/)?.[0] ?? "";

/** @param {string} chat_id */
async function openChat(chat_id) {
  const page = (await pages()).find(({ url }) => new URL(url).pathname === "/");
  if (!page) return scope.clients.openWindow(`/#${encodeURIComponent(chat_id)}`);
  await page.focus();
  page.postMessage({ open: chat_id });
}

/** @param {number} ms @returns {Promise<void>} */
const sleep = (ms) => new Promise((woken) => setTimeout(woken, ms));
