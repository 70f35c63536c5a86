// The service worker, as the page sees it: installs it, checks for a new version of the page, and passes on the chat
// of a pressed notification. On plain http a browser has no service worker: the page then opens only with a
// connection, and updates only by a reload.

import { Store } from "./store.js";

/** The least time between two checks for a new version, in milliseconds. */
const CHECK_PAUSE_MS = 10_000;

export class Updates extends Store {
  /** Whether a newer version than this page is in the browser: the next load opens it. */
  isReady = false;
  /** Called with the chat of a notification that was pressed. @param {string} _chat_id */
  onOpen = (_chat_id) => {};
  #container;
  #version;
  /** @type {Promise<ServiceWorkerRegistration> | undefined} */
  #registration;
  #checked_ms = -Infinity;

  /**
   * @param {ServiceWorkerContainer | undefined} container `navigator.serviceWorker`
   * @param {string} assets the address of this page's files, which contains its version
   */
  constructor(container, assets) {
    super();
    this.#container = container;
    this.#version = assets.match(/\/assets\/[^/]+/)?.[0] ?? "";
  }

  start() {
    if (!this.#container) return;
    this.#container.addEventListener("message", ({ data }) => this.#receive(data));
    this.#registration = this.#container.register("/sw.js");
    this.#registration.catch(() => {}); // blocked, or the server is away: the next load tries again
    this.#checked_ms = performance.now(); // registering checks too
  }

  /** Checks for a new version. Call it when the server may have been updated; frequent calls do no harm. */
  async check() {
    const now_ms = performance.now();
    if (now_ms - this.#checked_ms < CHECK_PAUSE_MS) return;
    this.#checked_ms = now_ms;
    try {
      await (await this.#registration)?.update();
    } catch {
      // No connection: the next call checks again.
    }
  }

  /** @param {{version?: string, open?: string}} message of the service worker */
  #receive({ version, open }) {
    if (open) this.onOpen(open);
    if (!version || version === this.#version) return;
    this.isReady = true;
    this.changed();
  }
}
