// The sign-in of this browser, shared by its tabs. A refresh token works once, and its reuse ends the sign-in in every
// tab. So tabs refresh under a lock, and the second one finds the tokens that the first one fetched.
//
// The lock does not order writes to localStorage: a tab can hold the lock before it reads the tokens that another tab
// stored under it. So the tab that refreshed marks the refresh token as used, and the next holder of the lock
// waits while the token that it reads is marked. The profile has its own key: stored with the tokens, it could restore replaced ones.

import { parsed } from "./stores/storage.js";

/** @import {Tokens, User} from "./types.js" */

const KEY = "rookery.sign-in";
/** The user as loaded last; the sign-in's own copy dates from its last refresh. */
const PROFILE_KEY = "rookery.profile";
/** The device tokens of the accounts that signed in here, by name; they outlast the sign-ins. */
const DEVICES_KEY = "rookery.devices";
/** Accounts whose device token is kept: those that signed in last. */
const MAX_DEVICE_TOKENS = 10;
/** A token that expires within this time is refreshed first; also the least time between two refreshes by the clock. */
const MARGIN_MS = 30_000;
/** A used refresh token stays marked this long: the most that a tab waits to read its replacement. */
const MARK_MS = 10_000;
/** Time between two reads of localStorage while a tab waits for the replacement. */
const REREAD_MS = 10;

/** The sign-in has ended; the person has to sign in again. */
export class SignedOut extends Error {}

/** @typedef {Tokens & {stored_at_ms: number}} Stored */
/**
 * @typedef {object} TabLocks
 * @property {(work: () => Promise<string>) => Promise<string>} exclusively runs the work while no other tab runs its own
 * @property {(refresh_token: string) => Promise<void>} markUsed returns when every tab can see the mark
 * @property {(refresh_token: string) => Promise<boolean>} isUsed
 */

/**
 * The locks of the browser, which it has on https and localhost; elsewhere tabs do not wait for each other, and two that
 * refresh at the same moment receive the same refresh token.
 * A mark is a lock that nobody waits for.
 * @type {TabLocks}
 */
const browserLocks = {
  exclusively: async (work) => (navigator.locks ? await navigator.locks.request(KEY, work) : work()),
  markUsed: (refresh_token) =>
    new Promise((marked) => {
      if (!navigator.locks) return marked();
      void navigator.locks.request(`${KEY}.${refresh_token}`, { mode: "shared" }, () => {
        marked();
        return sleep(MARK_MS);
      });
    }),
  isUsed: async (refresh_token) => {
    const { held = [] } = (await navigator.locks?.query()) ?? {};
    return held.some(({ name }) => name === `${KEY}.${refresh_token}`);
  },
};

export class Credentials {
  /** Called when the server has ended the sign-in. */
  onEnded = () => {};
  #storage;
  #locks;

  /** @param {Pick<Storage, "getItem" | "setItem" | "removeItem">} storage @param {TabLocks} [locks] */
  constructor(storage, locks = browserLocks) {
    this.#storage = storage;
    this.#locks = locks;
  }

  /** @returns {Stored | null} */
  get current() {
    const stored = this.#read(KEY);
    if (!stored?.user?.user_id) return null;
    const profile = this.#read(PROFILE_KEY);
    return profile?.user_id === stored.user.user_id ? { ...stored, user: profile } : stored;
  }

  /** @param {Tokens} tokens */
  store(tokens) {
    this.#storage.setItem(KEY, JSON.stringify({ ...tokens, stored_at_ms: Date.now() }));
    this.storeUser(tokens.user);
  }

  /** Stores the profile of the signed-in user. @param {User} user */
  storeUser(user) {
    this.#storage.setItem(PROFILE_KEY, JSON.stringify(user));
  }

  /** The token by which the server knows this browser at a sign-in; empty before the first one. @param {string} name */
  deviceToken(name) {
    return this.#devices().get(name.toLowerCase()) ?? "";
  }

  /** @param {string} name @param {string} device_token */
  storeDeviceToken(name, device_token) {
    const others = this.#devices();
    others.delete(name.toLowerCase());
    const entries = [...others, [name.toLowerCase(), device_token]].slice(-MAX_DEVICE_TOKENS);
    this.#storage.setItem(DEVICES_KEY, JSON.stringify(entries));
  }

  clear() {
    this.#storage.removeItem(KEY);
    this.#storage.removeItem(PROFILE_KEY);
  }

  /**
   * Returns an access token that is expected to be valid.
   * @param {string} rejected a token that the server rejected; empty if none was tried
   * @param {(refresh_token: string) => Promise<Tokens | null>} refresh requests new tokens; null if the sign-in has
   * ended
   * @returns {Promise<string>}
   * @throws {SignedOut}
   */
  async access(rejected, refresh) {
    const usable = this.#usable(rejected);
    if (usable) return usable;
    return this.#locks.exclusively(async () => {
      await this.#replacementRead();
      const fetched = this.#usable(rejected);
      if (fetched) return fetched;
      const { refresh_token, user } = /** @type {Stored} */ (this.current);
      const tokens = await refresh(refresh_token);
      const { current } = this; // a tab may have signed out meanwhile, or in again
      if (current?.user.user_id !== user.user_id) throw new SignedOut();
      if (current.refresh_token !== refresh_token) return current.access_token;
      if (!tokens) return this.end();
      this.store(tokens);
      await this.#locks.markUsed(refresh_token);
      return tokens.access_token;
    });
  }

  /** Waits until this tab reads a refresh token that no tab has used, `MARK_MS` at most. */
  async #replacementRead() {
    for (let current = this.current; current; current = this.current) {
      if (!(await this.#locks.isUsed(current.refresh_token))) return;
      await sleep(REREAD_MS);
    }
  }

  /**
   * Clears the sign-in that the server has ended.
   * @returns {never}
   * @throws {SignedOut}
   */
  end() {
    this.clear();
    this.onEnded();
    throw new SignedOut();
  }

  /** The device tokens by name; none if they can't be read. */
  #devices() {
    const entries = this.#read(DEVICES_KEY);
    const pairs = Array.isArray(entries) ? entries.filter((entry) => Array.isArray(entry)) : [];
    return new Map(/** @type {[string, string][]} */ (pairs));
  }

  /** @param {string} key */
  #read(key) {
    return parsed(this.#storage.getItem(key));
  }

  /** @param {string} rejected */
  #usable(rejected) {
    const current = this.current;
    if (!current) throw new SignedOut();
    const { access_token, access_token_expires_at_ms, stored_at_ms } = current;
    const now_ms = Date.now();
    const ending = now_ms > Number(access_token_expires_at_ms) - MARGIN_MS && now_ms > stored_at_ms + MARGIN_MS;
    return access_token === rejected || ending ? "" : access_token;
  }

  /**
   * Calls back when another tab signed out, or in as someone else.
   * @param {(user: User | null) => void} changed
   */
  watch(changed) {
    addEventListener("storage", (event) => {
      if (event.key !== KEY && event.key !== null) return;
      const user_id = parsed(event.oldValue)?.user?.user_id ?? "";
      const user = this.current?.user ?? null;
      if (user?.user_id !== user_id) changed(user);
    });
  }
}

/** @param {number} ms @returns {Promise<void>} */
function sleep(ms) {
  return new Promise((woken) => setTimeout(woken, ms));
}
