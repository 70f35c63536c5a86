// One user's drafts, and unsent messages and changes, kept in this browser across reloads. All of them are in memory as
// well: a value that the browser does not keep lasts until the page closes, and `isDurable` is false meanwhile.

import { inTime } from "../deadline.js";
import { Store } from "./store.js";

/** Opening and reading that takes longer counts as failed: the page waits for it. */
const OPEN_DEADLINE_MS = 10_000;
/** A write that takes longer counts as failed: a message waits for it. */
const WRITE_DEADLINE_MS = 3_000;

/** @typedef {"draft" | "outbox" | "change"} Kind */
/**
 * One user's part of a database. Each write returns when it is complete, and throws if it failed.
 * @typedef {object} Database
 * @property {() => Promise<[kind: Kind, id: string, value: unknown][]>} read
 * @property {(kind: Kind, id: string, value: unknown) => Promise<void>} put
 * @property {(kind: Kind, id: string) => Promise<void>} remove
 * @property {() => Promise<void>} clear
 */

export class Kept extends Store {
  #database;
  /** @type {Map<string, [kind: Kind, id: string, value: unknown]>} */
  #values = new Map();
  /** The keys of the values that are in memory only. @type {Set<string>} */
  #unsaved = new Set();

  /** @param {Database | null} database null to keep everything in memory @param {[Kind, string, unknown][]} values */
  constructor(database, values = []) {
    super();
    this.#database = database;
    for (const [kind, id, value] of values) this.#values.set(keyOf(kind, id), [kind, id, value]);
  }

  /** Reads what is kept; continues in memory if the database can't be opened. @param {() => Promise<Database>} open */
  static async open(open) {
    try {
      const database = await inTime(OPEN_DEADLINE_MS, open());
      return new Kept(database, await inTime(OPEN_DEADLINE_MS, database.read()));
    } catch {
      return new Kept(null);
    }
  }

  /** Whether everything would survive that the page closes. */
  get isDurable() {
    return this.#database !== null && this.#unsaved.size === 0;
  }

  /**
   * The values, in the order in which they were put.
   * @param {Kind} kind
   * @returns {[id: string, value: unknown][]}
   */
  all(kind) {
    return [...this.#values.values()].filter(([other]) => other === kind).map(([, id, value]) => [id, value]);
  }

  /** @param {Kind} kind @param {string} id */
  get(kind, id) {
    return this.#values.get(keyOf(kind, id))?.[2];
  }

  /**
   * Returns when the value is kept, and whether it is; otherwise it is in memory.
   * @param {Kind} kind
   * @param {string} id
   * @param {unknown} value
   */
  async put(kind, id, value) {
    this.#values.delete(keyOf(kind, id));
    this.#values.set(keyOf(kind, id), [kind, id, value]);
    const saved = await this.#save(kind, id, value);
    if (saved) void this.#saveRest();
    return saved;
  }

  /** Another tab has put this value, or removed it. @param {Kind} kind @param {string} id @param {unknown} [value] */
  follow(kind, id, value) {
    this.#values.delete(keyOf(kind, id));
    if (value !== undefined) this.#values.set(keyOf(kind, id), [kind, id, value]);
    this.#unsaved.delete(keyOf(kind, id));
    this.changed();
  }

  /** @param {Kind} kind @param {string} id */
  async remove(kind, id) {
    this.#values.delete(keyOf(kind, id));
    this.#note(keyOf(kind, id), true);
    await this.#try((database) => database.remove(kind, id));
  }

  /** Deletes everything. What is put later, such as a message whose files are being kept, is in memory alone. */
  async clear() {
    this.#values.clear();
    this.#unsaved.clear();
    const clearing = this.#try((database) => database.clear());
    this.#database = null;
    await clearing;
  }

  /** @param {Kind} kind @param {string} id @param {unknown} value */
  async #save(kind, id, value) {
    const saved = await this.#try((database) => database.put(kind, id, value));
    if (this.get(kind, id) === value) this.#note(keyOf(kind, id), saved);
    return saved;
  }

  /** Writes the values that could not be written before: there may be room again. */
  async #saveRest() {
    for (const key of [...this.#unsaved]) {
      const entry = this.#values.get(key);
      if (entry && !(await this.#save(...entry))) return;
    }
  }

  /** @param {(database: Database) => Promise<void>} write @returns {Promise<boolean>} whether it succeeded */
  async #try(write) {
    if (!this.#database) return false;
    try {
      await inTime(WRITE_DEADLINE_MS, write(this.#database));
      return true;
    } catch {
      return false;
    }
  }

  /** @param {string} key @param {boolean} saved */
  #note(key, saved) {
    const before = this.isDurable;
    if (saved) this.#unsaved.delete(key);
    else this.#unsaved.add(key);
    if (before !== this.isDurable) this.changed();
  }
}

/** @param {Kind} kind @param {string} id */
const keyOf = (kind, id) => `${kind} ${id}`;
