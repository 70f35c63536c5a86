// What is known of people. Asking for someone who is not known fetches them, many at once, and tells when they are
// there.

/** @import {Profile} from "./types.js" */

/** The most ids that one request may ask for. */
const PAGE = 100;

export class Profiles extends EventTarget {
  #fetch;
  /** @type {Map<string, Profile>} */
  #known = new Map();
  /** @type {Set<string>} */
  #wanted = new Set();
  /** @type {Set<string>} */
  #missing = new Set();
  #busy = false;

  /** @param {(user_ids: string[]) => Promise<Profile[]>} fetch */
  constructor(fetch) {
    super();
    this.#fetch = fetch;
  }

  /** The profile if it is known; otherwise it is fetched, and "change" follows. @param {string} user_id */
  get(user_id) {
    const profile = this.#known.get(user_id);
    if (!profile && user_id && !this.#missing.has(user_id)) this.refresh(user_id);
    return profile;
  }

  /** Whether the server said that there is no such user. @param {string} user_id */
  isMissing(user_id) {
    return this.#missing.has(user_id);
  }

  /** @param {readonly Profile[]} profiles */
  put(profiles) {
    for (const profile of profiles) this.#known.set(profile.user_id, profile);
    this.dispatchEvent(new Event("change"));
  }

  /** Fetches the profile even if it is known. @param {string} user_id */
  refresh(user_id) {
    this.#wanted.add(user_id);
    queueMicrotask(() => void this.fetchWanted());
  }

  /** Fetches what was asked for and has not come; call it again when the line is back. */
  async fetchWanted() {
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (this.#wanted.size) await this.#fetchPage([...this.#wanted].slice(0, PAGE));
    } catch {
      // They stay wanted until the next call.
    } finally {
      this.#busy = false;
    }
  }

  /** @param {string[]} user_ids */
  async #fetchPage(user_ids) {
    const profiles = await this.#fetch(user_ids);
    const found = new Set(profiles.map((profile) => profile.user_id));
    for (const user_id of user_ids) {
      this.#wanted.delete(user_id);
      if (!found.has(user_id)) this.#missing.add(user_id);
    }
    this.put(profiles);
  }
}
