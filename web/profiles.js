// A cache of profiles. Reading one that is not cached, or may have changed since, fetches it, many in one request, and
// calls the listeners when they arrive.

import { displayName, withoutDirectionControls } from "./format.js";
import { Store } from "./stores/store.js";

/** @import {Profile} from "./types.js" */
/** @import {Mention} from "./wire.js" */

/** The most ids in one request. */
const PAGE = 100;
/** The most profiles in memory: the newest ones, and the user's own. An earlier profile is fetched when it is read again. */
export const MAX_CACHED = 5_000;

export class Profiles extends Store {
  #fetch;
  /** By id, in the order of their arrival; null if the server returned no such user. @type {Map<string, Profile | null>} */
  #cached = new Map();
  /** The cached profiles that may have changed, and are fetched when they are read. @type {Set<string>} */
  #stale = new Set();
  /** @type {Set<string>} */
  #queued = new Set();
  /** The users of the request under way. @type {Set<string>} */
  #asked = new Set();
  /** The fetch of the queued profiles that is under way. @type {Promise<void> | null} */
  #fetching = null;

  /** @param {(user_ids: string[]) => Promise<Profile[]>} fetch @param {string} [me] the id of the user of this page */
  constructor(fetch, me = "") {
    super();
    this.#fetch = fetch;
    this.me = me;
  }

  /** The profile if it is cached; it is fetched if it is not, or may have changed. @param {string} user_id */
  get(user_id) {
    const profile = this.#cached.get(user_id);
    const isWanted = profile === undefined ? !this.#asked.has(user_id) : this.#stale.delete(user_id);
    if (user_id && isWanted) this.refresh(user_id);
    return profile ?? undefined;
  }

  /** The profile if it is cached. @param {string} user_id */
  cached(user_id) {
    return this.#cached.get(user_id) ?? undefined;
  }

  /** The name of a user; empty while the profile is loading. @param {string} user_id */
  nameOf(user_id) {
    const profile = this.get(user_id);
    return profile ? displayName(profile) : "";
  }

  /** The present name of a mentioned user; without a profile the name as it was written. @param {Mention} mention */
  mentioned({ user_id = "", name = "" }) {
    return this.nameOf(user_id) || withoutDirectionControls(name);
  }

  /** Whether the server returned no such user. @param {string} user_id */
  isMissing(user_id) {
    return this.#cached.get(user_id) === null;
  }

  /** @param {readonly Profile[]} profiles */
  put(profiles) {
    for (const profile of profiles) this.#keep(profile.user_id, profile);
    this.changed();
  }

  /** Shows copies of an earlier page, except of profiles that are cached. @param {readonly Profile[]} profiles */
  restore(profiles) {
    for (const profile of profiles.filter(({ user_id }) => !this.#cached.has(user_id))) {
      this.#keep(profile.user_id, profile);
      this.#stale.add(profile.user_id);
    }
    this.changed();
  }

  /** Any profile may have changed, except the user's own, which is kept up to date with all its fields elsewhere. */
  expire() {
    for (const user_id of this.#cached.keys()) if (user_id !== this.me) this.#stale.add(user_id);
    this.changed();
  }

  /** Fetches the profile even if it is cached. @param {string} user_id */
  refresh(user_id) {
    this.#queued.add(user_id);
    queueMicrotask(() => void this.fetchQueued());
  }

  /** Fetches the queued profiles. Returns when this has ended; call it again when the connection is back. */
  async fetchQueued() {
    if (this.#queued.size) this.#fetching ??= this.#fetchAll();
    await this.#fetching;
  }

  async #fetchAll() {
    try {
      while (this.#queued.size) await this.#fetchPage([...this.#queued].slice(0, PAGE));
    } catch {
      for (const user_id of this.#asked) this.#queued.add(user_id); // until the next call
    } finally {
      this.#fetching = null;
      this.#asked = new Set();
    }
  }

  /** @param {string[]} user_ids */
  async #fetchPage(user_ids) {
    this.#asked = new Set(user_ids);
    for (const user_id of user_ids) this.#queued.delete(user_id); // one that changes now is fetched again
    const profiles = await this.#fetch(user_ids);
    for (const user_id of user_ids) {
      this.#keep(user_id, profiles.find((profile) => profile.user_id === user_id) ?? null);
    }
    this.changed();
  }

  /** @param {string} user_id @param {Profile | null} profile */
  #keep(user_id, profile) {
    this.#drop(user_id);
    this.#cached.set(user_id, profile);
    const [oldest = "", next = ""] = this.#cached.keys();
    if (this.#cached.size > MAX_CACHED) this.#drop(oldest === this.me ? next : oldest);
  }

  /** @param {string} user_id */
  #drop(user_id) {
    this.#cached.delete(user_id);
    this.#stale.delete(user_id);
  }
}
