// The bytes of files in this browser: in memory while the page shows them, and in its database as long as a draft or an
// unsent message needs them, so that they are there after a reload.

import { inTime } from "../deadline.js";

/** @import {FileDatabase} from "./database.js" */

/** Files that nothing needs any more, whose bytes stay in memory, so that the page need not load them again. */
const MAX_UNUSED = 50;
/** Opening the database, or keeping a file, counts as failed if it takes longer: a message waits for it. */
const OPEN_DEADLINE_MS = 10_000;
const KEEP_DEADLINE_MS = 30_000;

export class Bytes {
  #database;
  /** The bytes with their object URLs, by id. @type {Map<string, {bytes: Blob, url: string}>} */
  #local = new Map();
  /** The ids of files whose bytes the database may have, and this page deletes. */
  #stored = new Set();
  /** The ids of files whose bytes are in memory only, since the database failed. */
  #unkept = new Set();
  #isStopped = false;

  /** @param {Promise<FileDatabase>} database */
  constructor(database) {
    this.#database = inTime(OPEN_DEADLINE_MS, database);
    this.#database.then((opened) => opened.prune(Date.now())).catch(() => {});
  }

  /** Whether the database took all bytes that it was to keep. */
  get isDurable() {
    return this.#unkept.size === 0;
  }

  /** @param {string} id */
  isUnkept(id) {
    return this.#unkept.has(id);
  }

  /** The bytes in memory. @param {string} id */
  of(id) {
    return this.#local.get(id)?.bytes;
  }

  /** An address of the bytes in memory; empty without any. @param {string} id */
  urlOf(id) {
    return this.#local.get(id)?.url ?? "";
  }

  /** Whether the bytes are in memory, or being loaded, or are known to be missing. @param {string} id */
  knows(id) {
    return this.#local.has(id) || this.#stored.has(id);
  }

  /** Keeps bytes in memory. @param {string} id @param {Blob} bytes */
  hold(id, bytes) {
    this.#local.set(id, { bytes, url: URL.createObjectURL(bytes) });
  }

  /**
   * Keeps bytes that are in memory in the database too, from where on they stay when the file on the disk changes.
   * @param {string} id
   * @returns {Promise<boolean>} whether the database has them; it may be full, blocked or too slow
   */
  async keep(id) {
    const local = this.#local.get(id);
    if (!local || this.#isStopped) return false;
    this.#stored.add(id);
    try {
      await inTime(KEEP_DEADLINE_MS, this.#put(id, local));
      this.#unkept.delete(id);
      return this.#stored.has(id);
    } catch {
      if (this.#stored.has(id)) this.#unkept.add(id);
      return false;
    }
  }

  /** @param {string} id @param {{bytes: Blob}} local */
  async #put(id, local) {
    const database = await this.#database;
    await database.put(id, local.bytes, Date.now());
    local.bytes = (await database.get(id)) ?? local.bytes;
    if (!this.#stored.has(id)) await database.remove(id); // it was removed meanwhile
  }

  /** Reads bytes that an earlier page, or another tab, has kept. Returns false if the database has none. @param {string} id */
  async load(id) {
    this.#stored.add(id);
    try {
      const bytes = await (await this.#database).get(id);
      if (bytes) this.hold(id, bytes);
      return bytes !== undefined;
    } catch {
      return true; // `read` tries again
    }
  }

  /** The bytes, from the database if they are not in memory. @param {string} id */
  async read(id) {
    return this.of(id) ?? (await (await this.#database).get(id).catch(() => undefined));
  }

  /** Leaves it to another tab to delete the kept bytes. @param {string} id */
  release(id) {
    this.#stored.delete(id);
  }

  /** Deletes kept bytes. @param {string} id */
  remove(id) {
    this.#stored.delete(id);
    this.#unkept.delete(id);
    this.#database.then((database) => database.remove(id)).catch(() => {}); // pruned later
  }

  /** Deletes the bytes of all other files than these; the last ones stay in memory. @param {ReadonlySet<string>} known ids */
  forget(known) {
    const unused = [...this.#local.keys()].filter((id) => !known.has(id));
    for (const id of unused) if (this.#stored.has(id)) this.remove(id);
    for (const id of unused.slice(0, -MAX_UNUSED)) {
      URL.revokeObjectURL(this.urlOf(id));
      this.#local.delete(id);
    }
  }

  /** The sign-in has ended, and all that is kept is deleted, with what is being kept; nothing is kept from then on. */
  stop() {
    this.#isStopped = true;
    this.#stored.clear();
  }
}
