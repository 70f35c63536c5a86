// Links to the bytes of files. The server gives them for minutes, many in one request, and only for files that the user
// may read; the same link until it expires, so that the browser's cache has the bytes.

import { Problem } from "../api.js";

/** @import {Api} from "../api.js" */
/** @import {Chats} from "../stores/chats.js" */

/** Links in one request: the server's maximum. */
const MAX_BATCH = 100;
/** Links of one file in one request: not more than the messages that the server takes for a file. */
const MAX_OF_FILE = 10;
/** Links in memory: those that were requested last. */
const MAX_LINKS = 2_000;
/** A link that expires within this time is requested again, in milliseconds. */
const MARGIN_MS = 30_000;
/** A link lives longer than this, in milliseconds. */
const LIFE_MS = 30_000;

/**
 * A file or a rendition of it, and the message in which the user reads it: none for the user's own files.
 * @typedef {object} Wanted
 * @property {string} file_id
 * @property {string} [chat_id]
 * @property {string} [message_id]
 * @property {string} [rendition] such as "320"; empty for the file itself
 * @property {boolean} [download] whether the browser saves it under its name
 */
/** @typedef {{url: string, expires_at_ms: string | number}} Link */
/**
 * @typedef {object} Links
 * @property {(Link | null)[]} links in the order of the files
 * @property {number[]} [not_recorded] the places of links that are null while the message may not be recorded yet
 */

/**
 * Whether a link that does not work may have expired: one that was renewed just now has not, and its file is broken.
 * @param {number} renewed_ms when the link was renewed last, in milliseconds since 1970; 0: never
 */
export const mayHaveExpired = (renewed_ms) => Date.now() - renewed_ms > LIFE_MS;

export class FileLinks {
  #fetch;
  #now;
  /** By the wanted file, in JSON. @type {Map<string, {url: string, expires_at_ms: number}>} */
  #known = new Map();
  /** What the next request asks for. @type {Map<string, Promise<string>>} */
  #waiting = new Map();
  /** How many of these are of each file. @type {Map<string, number>} */
  #ofFiles = new Map();
  /** @type {Promise<Links> | null} */
  #request = null;

  /**
   * @param {(files: readonly Wanted[]) => Promise<Links>} fetch
   * @param {() => number} now the server's time in milliseconds since 1970
   */
  constructor(fetch, now) {
    this.#fetch = fetch;
    this.#now = now;
  }

  /**
   * The address of a file; empty if the user may not read it, or not any more.
   * @param {Wanted} wanted
   * @returns {Promise<string>} rejects if a later call may succeed: without a response, or while the server has not
   * recorded the message
   */
  get(wanted) {
    const key = JSON.stringify(wanted);
    const known = this.#known.get(key);
    if (known && known.expires_at_ms - MARGIN_MS > this.#now()) return Promise.resolve(known.url);
    return this.#waiting.get(key) ?? this.#want(key, wanted.file_id);
  }

  /** A link did not work: the next call requests another one. @param {Wanted} wanted */
  forget(wanted) {
    this.#known.delete(JSON.stringify(wanted));
  }

  /** Adds a file to the next request, which is sent after the present task. @param {string} key @param {string} file_id */
  #want(key, file_id) {
    if (this.#waiting.size >= MAX_BATCH || (this.#ofFiles.get(file_id) ?? 0) >= MAX_OF_FILE) this.#request = null;
    if (!this.#request) {
      this.#waiting = new Map();
      this.#ofFiles = new Map();
      this.#request = this.#send(this.#waiting);
    }
    this.#ofFiles.set(file_id, (this.#ofFiles.get(file_id) ?? 0) + 1);
    const at = this.#waiting.size;
    const link = this.#request.then(({ links, not_recorded }) => {
      if (not_recorded?.includes(at)) throw new Problem(503, { code: "unavailable" });
      return this.#keep(key, links[at] ?? null);
    });
    this.#waiting.set(key, link);
    return link;
  }

  /** @param {Map<string, Promise<string>>} waiting @returns {Promise<Links>} */
  async #send(waiting) {
    await new Promise((resolve) => setTimeout(resolve));
    if (this.#waiting === waiting) this.#request = null;
    try {
      return await this.#fetch([...waiting.keys()].map((key) => JSON.parse(key)));
    } finally {
      waiting.clear();
    }
  }

  /** @param {string} key @param {Link | null} link */
  #keep(key, link) {
    this.#known.delete(key);
    if (!link) return "";
    this.#known.set(key, { url: link.url, expires_at_ms: Number(link.expires_at_ms) });
    const [oldest] = this.#known.keys();
    if (this.#known.size > MAX_LINKS && oldest !== undefined) this.#known.delete(oldest);
    return link.url;
  }
}

/** By the user's chats: the next user of the page has others. @type {WeakMap<object, FileLinks>} */
const all = new WeakMap();

/**
 * The links of a signed-in user, which expire by the server's clock.
 * @param {{api: Api, chats: Pick<Chats, "clock">}} app
 */
export function linksOf({ api, chats }) {
  const known = all.get(chats);
  if (known) return known;
  const fetch = (/** @type {readonly Wanted[]} */ files) => api.signedIn("POST", "/v1/files/links", { files });
  const links = new FileLinks(fetch, () => chats.clock.now_ms());
  all.set(chats, links);
  return links;
}
