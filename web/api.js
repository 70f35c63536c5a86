// The HTTP API: one method for each thing the page asks the BFF for, with a sign-in that renews itself.

import { Credentials, SignedOut } from "./credentials.js";

/** @import {ChatsPage, HistoryPage, ProfilesPage, Tokens, User} from "./types.js" */

/** Long enough for a slow line, short enough to say so: milliseconds until a request without an answer is given up. */
const DEADLINE_MS = 15_000;

/** The server's answer was a refusal; `message` is for people. */
export class Problem extends Error {
  /**
   * @param {number} status
   * @param {{code?: string, detail?: string, title?: string, field?: string, retry_after_ms?: number | string}} body
   */
  constructor(status, { code = "", detail, title = "", field = "", retry_after_ms = 0 }) {
    super(detail ?? title);
    this.status = status;
    this.code = code;
    this.field = field;
    this.retry_after_ms = Number(retry_after_ms);
  }
}

/** There was no answer: the line or the server is down. */
export class NoAnswer extends Error {}

/** What to say about something that went wrong. @param {unknown} fault */
export function explain(fault) {
  if (fault instanceof Problem && fault.message) return fault.message;
  if (fault instanceof NoAnswer) return "The server does not answer. Check your connection and try again.";
  if (fault instanceof SignedOut) return "You have been signed out.";
  return "Something went wrong. Try again.";
}

export class Api {
  #credentials;

  /** @param {Credentials} credentials */
  constructor(credentials) {
    this.#credentials = credentials;
  }

  /**
   * @param {{name: string, password: string, display_name?: string}} account
   * @returns {Promise<User>}
   */
  register(account) {
    return this.#open("POST", "/v1/users", account);
  }

  /** @param {string} name @param {string} password */
  async signIn(name, password) {
    const tokens = await this.#open("POST", "/v1/tokens", { name, password, device_name: "web" });
    this.#credentials.store(tokens);
  }

  /** Ends the sign-in here whether the server answers or not. */
  async signOut() {
    try {
      await this.signedIn("DELETE", "/v1/tokens/current");
    } catch (fault) {
      if (!(fault instanceof NoAnswer || fault instanceof Problem || fault instanceof SignedOut)) throw fault;
    } finally {
      this.#credentials.clear();
    }
  }

  /**
   * @param {{display_name: string, about: string, version: number | string}} profile
   * @returns {Promise<User>}
   */
  async changeProfile(profile) {
    const user = await this.signedIn("PATCH", "/v1/me", profile);
    this.#credentials.storeUser(user);
    return user;
  }

  /** @returns {Promise<User>} */
  async me() {
    const user = await this.signedIn("GET", "/v1/me");
    this.#credentials.storeUser(user);
    return user;
  }

  /** @param {string} current_password @param {string} new_password */
  changePassword(current_password, new_password) {
    return this.signedIn("PUT", "/v1/me/password", { current_password, new_password });
  }

  /**
   * Where this user's sessions go.
   * @returns {Promise<{websocket: string}>}
   */
  gateway() {
    return this.signedIn("GET", "/v1/me/gateway");
  }

  /**
   * @param {string[]} user_ids at most 100
   * @returns {Promise<ProfilesPage>}
   */
  profiles(user_ids) {
    return this.signedIn("GET", `/v1/profiles?user_ids=${user_ids.join(",")}`);
  }

  /**
   * People whose name contains the text, of 3 characters at least.
   * @param {string} text
   * @returns {Promise<ProfilesPage>}
   */
  findPeople(text) {
    return this.signedIn("GET", `/v1/profiles?name_contains=${encodeURIComponent(text)}&limit=20`);
  }

  /**
   * @param {{changed_since_ms?: number, cursor?: string}} [page]
   * @returns {Promise<ChatsPage>}
   */
  chats({ changed_since_ms = 0, cursor = "" } = {}) {
    const query = new URLSearchParams();
    if (changed_since_ms) query.set("changed_since_ms", String(changed_since_ms));
    if (cursor) query.set("cursor", cursor);
    return this.signedIn("GET", `/v1/chats?${query}`);
  }

  /**
   * A page of history, oldest first.
   * @param {string} chat_id
   * @param {{before_id?: string, after_id?: string}} [anchor]
   * @returns {Promise<HistoryPage>}
   */
  messages(chat_id, anchor = {}) {
    return this.signedIn("GET", `/v1/chats/${encodeURIComponent(chat_id)}/messages?${new URLSearchParams(anchor)}`);
  }

  /**
   * An access token for a session.
   * @param {string} rejected one that the gateway would not take; empty if none was tried
   */
  accessToken(rejected) {
    return this.#credentials.access(rejected, (refresh_token) => this.#refresh(refresh_token));
  }

  /**
   * @param {string} refresh_token
   * @returns {Promise<Tokens | null>}
   */
  async #refresh(refresh_token) {
    try {
      return await this.#open("POST", "/v1/tokens/refresh", { refresh_token });
    } catch (fault) {
      if (fault instanceof Problem && fault.status < 429) return null;
      throw fault;
    }
  }

  /**
   * Asks as who is signed in.
   * @param {string} method
   * @param {string} path
   * @param {object} [body]
   * @returns {Promise<any>}
   * @throws {Problem | NoAnswer | SignedOut}
   */
  async signedIn(method, path, body) {
    const token = await this.accessToken("");
    try {
      return await this.#open(method, path, body, token);
    } catch (fault) {
      if (fault instanceof Problem && fault.code === "suspended") return this.#credentials.end();
      if (!(fault instanceof Problem && fault.status === 401 && fault.code === "unauthenticated")) throw fault;
      return this.#open(method, path, body, await this.accessToken(token));
    }
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {object} [body]
   * @param {string} [token]
   * @returns {Promise<any>}
   */
  async #open(method, path, body, token) {
    /** @type {Record<string, string>} */
    const headers = {};
    if (body) headers["Content-Type"] = "application/json";
    if (token) headers["Authorization"] = `Bearer ${token}`;
    const answer = await fetched(path, {
      method,
      headers,
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
    if (answer.ok) return answer.body;
    throw new Problem(answer.status, answer.body ?? {});
  }
}

/** @param {string} path @param {RequestInit} request */
async function fetched(path, request) {
  try {
    const response = await fetch(path, { cache: "no-store", ...request });
    const text = await response.text();
    return { ok: response.ok, status: response.status, body: parsed(text) };
  } catch (fault) {
    throw new NoAnswer("no answer", { cause: fault });
  }
}

/** What the text says as JSON; null if it is something else, such as a proxy's error page. @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
