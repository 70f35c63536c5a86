// The HTTP API: the requests of the page to the BFF, with automatic renewal of the access token. A request
// that only one dialog sends is in the module of that dialog.

import { Credentials, SignedOut } from "./credentials.js";
import { texts } from "./languages/language.js";
import { refusalText } from "./refusals.js";
import { parsed } from "./stores/storage.js";

/** @import {Query} from "./conversations.js" */
/** @import {Profile, ProfilesPage, Tokens, User} from "./types.js" */
/**
 * @import {
 *   Chat as WireChat, Event as WireEvent, GroupSettings, ListChangesResponse, ListChatsResponse,
 *   ListMembersResponse, ListMessagesResponse, Role,
 * } from "./wire.js"
 */
/**
 * The fields of every control change: a retry with the same client_change_id has no second effect; with another
 * version of the chat than the expected one, the server refuses it.
 * @typedef {{client_change_id: string, expected_version?: string}} ControlFields
 */

/** Milliseconds until a request without a response fails: enough for a slow connection, short enough to report. */
const DEADLINE_MS = 15_000;
/** The most characters of a text that the server searches for among names. */
const MAX_SEARCHED = 64;

/** Whether the server takes a search for this text. @param {string} text */
export const isSearchable = (text) => [...text].length <= MAX_SEARCHED;

/** The server refused the request; `message` is for people, in English. */
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

/** No response arrived: the connection or the server is down. */
export class NoResponse extends Error {}

/** The text to show for an error. @param {unknown} fault */
export function explain(fault) {
  if (fault instanceof Problem) return refusalText(fault);
  if (fault instanceof NoResponse) return texts.failed.noResponse;
  if (fault instanceof SignedOut) return texts.failed.signedOut;
  return texts.failed.unknown;
}

export class Api {
  #credentials;
  #device_name;
  /** The first page of chats, until it is used. @type {Promise<ListChatsResponse> | null} */
  #firstPage = null;

  /** @param {Credentials} credentials @param {string} [device_name] the name of new sign-ins, up to 64 characters */
  constructor(credentials, device_name = "") {
    this.#credentials = credentials;
    this.#device_name = device_name;
  }

  /**
   * @param {{name: string, password: string, display_name?: string, invite?: string}} account
   * @returns {Promise<User>}
   */
  register(account) {
    return this.#request("POST", "/v1/users", account);
  }

  /**
   * Sets the password with the token of a link, which ends all sign-ins of the account.
   * @param {string} token
   * @param {string} password
   * @returns {Promise<Profile>}
   */
  async resetPassword(token, password) {
    const { device_token, ...profile } = await this.#request("POST", "/v1/password-resets", { token, password });
    this.keepDeviceToken(profile.name, device_token);
    return profile;
  }

  /** @param {string} name @param {string} password */
  async signIn(name, password) {
    const device_token = this.#credentials.deviceToken(name);
    const account = { name, password, device_name: this.#device_name, device_token };
    const { device_token: next_device_token, ...tokens } = await this.#request("POST", "/v1/tokens", account);
    this.#credentials.store(tokens);
    this.keepDeviceToken(name, next_device_token);
  }

  /** Keeps the token by which the server knows this browser at the next sign-in. @param {string} name @param {string} token */
  keepDeviceToken(name, token) {
    this.#credentials.storeDeviceToken(name, token);
  }

  /** Ends the sign-in in this browser, whether the server responds or not. */
  async signOut() {
    try {
      await this.signedIn("DELETE", "/v1/tokens/current");
    } catch (fault) {
      if (!(fault instanceof NoResponse || fault instanceof Problem || fault instanceof SignedOut)) throw fault;
    } finally {
      this.#credentials.clear();
    }
  }

  /**
   * @param {Partial<User> & {version: number | string}} profile
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

  /** Deletes the account for ever, which ends this sign-in. @param {string} current_password */
  async deleteAccount(current_password) {
    await this.signedIn("POST", "/v1/me/deletion", { current_password });
    this.#credentials.clear();
  }

  /**
   * The address to which this user's sessions connect. The server waits for another one than an unreachable one.
   * @param {string} unreachable an address, or empty
   * @returns {Promise<{websocket: string}>}
   */
  gateway(unreachable) {
    const query = unreachable && `?${new URLSearchParams({ unreachable })}`;
    return this.signedIn("GET", `/v1/me/gateway${query}`);
  }

  /**
   * @param {string[]} user_ids at most 100
   * @returns {Promise<ProfilesPage>}
   */
  profiles(user_ids) {
    return this.signedIn("GET", `/v1/profiles?user_ids=${user_ids.join(",")}`);
  }

  /**
   * People whose names contain the words of the text, of 1 character at least.
   * @param {string} text
   * @returns {Promise<ProfilesPage>}
   */
  findPeople(text) {
    return this.signedIn("GET", `/v1/profiles?name_contains=${encodeURIComponent(text)}&limit=20`);
  }

  /** Some of the people with an account, the newest first. @param {number} limit @returns {Promise<ProfilesPage>} */
  people(limit) {
    return this.signedIn("GET", `/v1/people?limit=${limit}`);
  }

  /** Requests the first page of chats, which the next call of `chats` returns: for a page that still loads modules. */
  preloadChats() {
    this.#firstPage = this.chats();
    this.#firstPage.catch(() => {}); // `chats` rejects
  }

  /**
   * @param {{changed_since_ms?: number, cursor?: string}} [page]
   * @returns {Promise<ListChatsResponse>}
   */
  chats({ changed_since_ms = 0, cursor = "" } = {}) {
    const firstPage = this.#firstPage;
    this.#firstPage = null;
    if (firstPage && !changed_since_ms && !cursor) return firstPage;
    const query = new URLSearchParams();
    if (changed_since_ms) query.set("changed_since_ms", String(changed_since_ms));
    if (changed_since_ms) query.set("limit", "100"); // the server's maximum
    if (cursor) query.set("cursor", cursor);
    return this.signedIn("GET", `/v1/chats?${query}`);
  }

  /** @param {string} chat_id of a chat with messages @returns {Promise<WireChat>} */
  chat(chat_id) {
    return this.signedIn("GET", `/v1/chats/${encodeURIComponent(chat_id)}`);
  }

  /**
   * A page of history, oldest first.
   * @param {string} chat_id
   * @param {Query} [query]
   * @returns {Promise<ListMessagesResponse>}
   */
  messages(chat_id, query = {}) {
    return this.signedIn("GET", `/v1/chats/${encodeURIComponent(chat_id)}/messages?${new URLSearchParams(query)}`);
  }

  /**
   * All events of a chat after an id.
   * @param {string} chat_id
   * @param {string} after
   * @returns {Promise<ListChangesResponse>}
   */
  changes(chat_id, after) {
    return this.signedIn("GET", `/v1/chats/${encodeURIComponent(chat_id)}/changes?after=${after}`);
  }

  /**
   * A page of the messages with a current change of a kind, such as the pinned ones: the newest before an id, oldest
   * first.
   * @param {string} chat_id
   * @param {string} having the kind
   * @param {string} before_id empty for the newest ones
   * @returns {Promise<ListMessagesResponse>}
   */
  messagesHaving(chat_id, having, before_id) {
    return this.messages(chat_id, { having, limit: "100", ...(before_id ? { before_id } : {}) });
  }

  // ---- groups: each control change returns its event

  /**
   * @param {string} chat_id
   * @param {ControlFields & Partial<GroupSettings>} settings
   * @returns {Promise<WireEvent>}
   */
  changeGroup(chat_id, settings) {
    return this.signedIn("PATCH", `/v1/chats/${encodeURIComponent(chat_id)}`, settings);
  }

  /**
   * @param {string} chat_id
   * @param {ControlFields & {user_ids: string[], role?: Role}} added
   * @returns {Promise<WireEvent>}
   */
  addMembers(chat_id, added) {
    return this.signedIn("POST", `/v1/chats/${encodeURIComponent(chat_id)}/members`, added);
  }

  /**
   * @param {string} chat_id
   * @param {string} user_id
   * @param {ControlFields & {expected_version?: string | undefined, role?: Role, allow?: string, deny?: string}} change
   * @returns {Promise<WireEvent>}
   */
  changeMember(chat_id, user_id, change) {
    return this.signedIn("PATCH", `/v1/chats/${encodeURIComponent(chat_id)}/members/${user_id}`, change);
  }

  /**
   * A page of a group's members, by rising user_id.
   * @param {string} chat_id
   * @param {string} [after] the last user_id of the page before
   * @param {number} [limit] at most 1,000
   * @returns {Promise<ListMembersResponse>}
   */
  members(chat_id, after = "0", limit = 1_000) {
    return this.signedIn("GET", `/v1/chats/${encodeURIComponent(chat_id)}/members?after=${after}&limit=${limit}`);
  }

  /**
   * An access token for a session.
   * @param {string} rejected a token that the gateway rejected; empty if none was tried
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
      return await this.#request("POST", "/v1/tokens/refresh", { refresh_token });
    } catch (fault) {
      const isRefused = fault instanceof Problem && fault.status < 429 && fault.status !== 408; // a late request
      if (isRefused && fault.code) return null; // a proxy's refusal has no code
      throw fault;
    }
  }

  /**
   * Sends a request with the access token of the signed-in user, and once more with a new one if it was rejected.
   * @param {string} method
   * @param {string} path
   * @param {object} [body]
   * @returns {Promise<any>}
   * @throws {Problem | NoResponse | SignedOut}
   */
  async signedIn(method, path, body) {
    const token = await this.accessToken("");
    try {
      return await this.#request(method, path, body, token);
    } catch (fault) {
      if (fault instanceof Problem && fault.code === "suspended") return this.#credentials.end();
      if (!(fault instanceof Problem && fault.status === 401 && fault.code === "unauthenticated")) throw fault;
      return this.#request(method, path, body, await this.accessToken(token));
    }
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {object} [body]
   * @param {string} [token]
   * @returns {Promise<any>}
   */
  async #request(method, path, body, token) {
    /** @type {Record<string, string>} */
    const headers = {};
    if (body) headers["Content-Type"] = "application/json";
    if (token) headers["Authorization"] = `Bearer ${token}`;
    const response = await fetchJson(path, {
      method,
      headers,
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
    if (response.ok) return response.body;
    throw new Problem(response.status, response.body ?? {});
  }
}

/** @param {string} path @param {RequestInit} request */
async function fetchJson(path, request) {
  try {
    const response = await fetch(path, { cache: "no-store", ...request });
    const text = await response.text();
    const body = response.ok ? JSON.parse(text || "null") : parsed(text); // throws if a proxy sent its own page
    return { ok: response.ok, status: response.status, body };
  } catch (fault) {
    throw new NoResponse("no response", { cause: fault });
  }
}
