// What the admin page asks the BFF for. The server checks at each request that who asks is an admin.

import { Api, Problem } from "../api.js";

/** @import {Account, AccountDetails, AuditPage, Change, Processes, Settings, Value} from "./types.js" */

/** Entries on a page of the history and of the audit log. */
const PAGE = 50;
/** The server looks for no shorter part of a name. */
export const SHORTEST_PART = 3;

export class AdminApi {
  #api;

  /** @param {Pick<Api, "signedIn">} api */
  constructor(api) {
    this.#api = api;
  }

  /** @returns {Promise<Processes>} */
  processes() {
    return this.#ask("GET", "processes");
  }

  /** @returns {Promise<Settings>} */
  configuration() {
    return this.#ask("GET", "configuration");
  }

  /** @param {string} key @param {Value} value */
  setValue(key, value) {
    return this.#ask("PUT", `configuration/${encodeURIComponent(key)}`, { value });
  }

  /** Lets the default hold again. @param {string} key */
  unsetValue(key) {
    return this.#ask("DELETE", `configuration/${encodeURIComponent(key)}`);
  }

  /**
   * @param {string} [before] a page's `next`; the newest changes without
   * @returns {Promise<{entries: Change[], next: string | null}>}
   */
  async history(before) {
    const { changes, next } = await this.#ask("GET", `configuration/history?${paged(before)}`);
    return { entries: changes, next };
  }

  /**
   * Whose name contains the text, and whose id it is.
   * @param {string} text
   * @returns {Promise<Account[]>}
   */
  async findUsers(text) {
    const asked = [];
    if (/^\d{1,19}$/.test(text)) asked.push(this.#users("user_id", text));
    if (text.length >= SHORTEST_PART) asked.push(this.#users("part", text));
    const found = (await Promise.all(asked)).flat();
    return [...new Map(found.map((account) => [account.user_id, account])).values()];
  }

  /** @param {string} user_id @returns {Promise<AccountDetails>} */
  user(user_id) {
    return this.#ask("GET", userPath(user_id));
  }

  /** Ends all sessions and sign-ins, and refuses new ones. @param {string} user_id @param {string} reason */
  suspend(user_id, reason) {
    return this.#ask("PUT", `${userPath(user_id)}/suspension`, { reason });
  }

  /** @param {string} user_id */
  restore(user_id) {
    return this.#ask("DELETE", `${userPath(user_id)}/suspension`);
  }

  /** @param {string} user_id */
  signOutEverywhere(user_id) {
    return this.#ask("DELETE", `${userPath(user_id)}/sign-ins`);
  }

  /**
   * @param {string} [before] a page's `next`; the newest entries without
   * @returns {Promise<AuditPage>}
   */
  audit(before) {
    return this.#ask("GET", `audit?${paged(before)}`);
  }

  /** @param {"part" | "user_id"} by @param {string} text @returns {Promise<Account[]>} */
  async #users(by, text) {
    try {
      return (await this.#ask("GET", `users?${new URLSearchParams({ [by]: text })}`)).users;
    } catch (fault) {
      if (by === "user_id" && fault instanceof Problem && fault.code === "invalid") return []; // digits that are no id
      throw fault;
    }
  }

  /** @param {string} method @param {string} path @param {object} [body] @returns {Promise<any>} */
  #ask(method, path, body) {
    return this.#api.signedIn(method, `/v1/admin/${path}`, body);
  }
}

/** @param {string} user_id */
const userPath = (user_id) => `users/${encodeURIComponent(user_id)}`;

/** @param {string} [before] */
const paged = (before) => new URLSearchParams({ limit: String(PAGE), ...(before && { before }) });
