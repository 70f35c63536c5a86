// The sign-in of this browser, shared by its tabs. A refresh token works once, and its reuse ends the sign-in in every
// tab. So tabs refresh under a lock, and the second one finds the tokens that the first one fetched.

/** @import {Tokens, User} from "./types.js" */

const KEY = "rookery.sign-in";
/** A token that expires within this time is refreshed first; also the least time between two refreshes by the clock. */
const MARGIN_MS = 30_000;

/** The sign-in has ended; the person has to sign in again. */
export class SignedOut extends Error {}

/** @typedef {Tokens & {stored_at_ms: number}} Stored */
/**
 * @typedef {(work: () => Promise<string>) => Promise<string>} Exclusively runs the work
 * while no other tab runs its own
 */

/**
 * Runs the work in one tab after another where the browser supports locks (https and localhost); elsewhere at once.
 * @type {Exclusively}
 */
const oneTabAtATime = async (work) => (navigator.locks ? await navigator.locks.request(KEY, work) : work());

export class Credentials {
  /** Called when the server has ended the sign-in. */
  onEnded = () => {};
  #storage;
  #exclusively;

  /** @param {Pick<Storage, "getItem" | "setItem" | "removeItem">} storage @param {Exclusively} [exclusively] */
  constructor(storage, exclusively = oneTabAtATime) {
    this.#storage = storage;
    this.#exclusively = exclusively;
  }

  /** @returns {Stored | null} */
  get current() {
    const text = this.#storage.getItem(KEY);
    return text ? JSON.parse(text) : null;
  }

  /** @param {Tokens} tokens */
  store(tokens) {
    this.#storage.setItem(KEY, JSON.stringify({ ...tokens, stored_at_ms: Date.now() }));
  }

  /** Keeps a changed profile of the same sign-in. @param {User} user */
  storeUser(user) {
    const current = this.current;
    if (current) this.#storage.setItem(KEY, JSON.stringify({ ...current, user }));
  }

  clear() {
    this.#storage.removeItem(KEY);
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
    return this.#exclusively(async () => {
      const fetched = this.#usable(rejected);
      if (fetched) return fetched;
      const tokens = await refresh(this.current?.refresh_token ?? "");
      if (!tokens) return this.end();
      this.store(tokens);
      return tokens.access_token;
    });
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
      const user_id = event.oldValue ? JSON.parse(event.oldValue).user.user_id : "";
      const user = this.current?.user ?? null;
      if (user?.user_id !== user_id) changed(user);
    });
  }
}
