// The requests of the admin page to the BFF. The server checks for every request that the user is an admin.

import { Api, Problem } from "../api.js";

/** @import {Account, AccountDetails, AuditPage, Change, Invite, Processes, ReportPage, Resolution, Settings, Value} from "./types.js" */

/** Entries on a page of the history and of the audit log. */
const PAGE = 50;

export class AdminApi {
  #api;

  /** @param {Pick<Api, "signedIn">} api */
  constructor(api) {
    this.#api = api;
  }

  /** @returns {Promise<Processes>} */
  processes() {
    return this.#request("GET", "processes");
  }

  /** @returns {Promise<Settings>} */
  configuration() {
    return this.#request("GET", "configuration");
  }

  /** @param {string} key @param {Value} value */
  setValue(key, value) {
    return this.#request("PUT", `configuration/${encodeURIComponent(key)}`, { value });
  }

  /** Restores the default. @param {string} key */
  unsetValue(key) {
    return this.#request("DELETE", `configuration/${encodeURIComponent(key)}`);
  }

  /**
   * @param {string} [before] a page's `next`; the newest changes without
   * @returns {Promise<{entries: Change[], next: string | null}>}
   */
  async history(before) {
    const { changes, next } = await this.#request("GET", `configuration/history?${paged(before)}`);
    return { entries: changes, next };
  }

  /**
   * A page of all accounts, the newest first if the server's store can sort them.
   * @param {string} cursor a page's `next`; 0 for the first page
   * @returns {Promise<{entries: Account[], next: string | null}>}
   */
  async accounts(cursor) {
    const { users, next } = await this.#request("GET", `users?${new URLSearchParams({ limit: String(PAGE), cursor })}`);
    return { entries: users, next };
  }

  /**
   * Finds the users whose names contain the words of the text or whose id is the text.
   * @param {string} text
   * @returns {Promise<Account[]>}
   */
  async findUsers(text) {
    const requests = [this.#users("part", text)];
    if (/^\d{1,19}$/.test(text)) requests.unshift(this.#users("user_id", text));
    const found = (await Promise.all(requests)).flat();
    return [...new Map(found.map((account) => [account.user_id, account])).values()];
  }

  /** @param {string} user_id @returns {Promise<AccountDetails>} */
  user(user_id) {
    return this.#request("GET", userPath(user_id));
  }

  /** Ends all sessions and sign-ins, and refuses new ones. @param {string} user_id @param {string} reason */
  suspend(user_id, reason) {
    return this.#request("PUT", `${userPath(user_id)}/suspension`, { reason });
  }

  /** @param {string} user_id */
  restore(user_id) {
    return this.#request("DELETE", `${userPath(user_id)}/suspension`);
  }

  /** @param {string} user_id */
  signOutEverywhere(user_id) {
    return this.#request("DELETE", `${userPath(user_id)}/sign-ins`);
  }

  /**
   * Creates an account; the token is of the link with which its user sets the password.
   * @param {string} name
   * @param {string} display_name empty for the name
   * @returns {Promise<{user: Account, password_reset: {token: string}}>}
   */
  createUser(name, display_name) {
    return this.#request("POST", "users", { name, ...(display_name && { display_name }) });
  }

  /** Deletes the account for ever. @param {string} user_id */
  deleteUser(user_id) {
    return this.#request("DELETE", userPath(user_id));
  }

  /** Makes the link with which the user sets a new password. @param {string} user_id @returns {Promise<{token: string}>} */
  resetPassword(user_id) {
    return this.#request("POST", `${userPath(user_id)}/password-reset`);
  }

  /** @returns {Promise<Invite[]>} */
  async invites() {
    return (await this.#request("GET", "invites")).invites;
  }

  /** @param {number} uses @param {number} days @returns {Promise<{token: string}>} */
  createInvite(uses, days) {
    return this.#request("POST", "invites", { uses, days });
  }

  /** @param {string} invite_id */
  revokeInvite(invite_id) {
    return this.#request("DELETE", `invites/${encodeURIComponent(invite_id)}`);
  }

  /**
   * A page of reports: open ones, the oldest first, or closed ones, the newest first.
   * @param {"open" | "closed"} state
   * @param {string} after a page's `next`; 0 for the first page
   * @returns {Promise<ReportPage>}
   */
  reports(state, after) {
    return this.#request("GET", `reports?${new URLSearchParams({ state, after })}`);
  }

  /** @param {string} report_id @param {Resolution} resolution @param {string} note for other admins; may be empty */
  closeReport(report_id, resolution, note) {
    return this.#request("POST", `reports/${encodeURIComponent(report_id)}`, { resolution, note });
  }

  /**
   * Records that the admin opens a file of an open report, and makes a link of it for some minutes.
   * @param {string} report_id
   * @param {{message_id: string, file_id: string, rendition?: string, download?: boolean}} wanted
   * @returns {Promise<{url: string}>}
   */
  openReportedFile(report_id, wanted) {
    return this.#request("POST", `reports/${encodeURIComponent(report_id)}/links`, wanted);
  }

  /**
   * @param {string} [before] a page's `next`; the newest entries without
   * @returns {Promise<AuditPage>}
   */
  audit(before) {
    return this.#request("GET", `audit?${paged(before)}`);
  }

  /** @param {"part" | "user_id"} by @param {string} text @returns {Promise<Account[]>} */
  async #users(by, text) {
    try {
      return (await this.#request("GET", `users?${new URLSearchParams({ [by]: text })}`)).users;
    } catch (fault) {
      if (by === "user_id" && fault instanceof Problem && fault.code === "invalid") return []; // digits out of the range of ids
      throw fault;
    }
  }

  /** @param {string} method @param {string} path @param {object} [body] @returns {Promise<any>} */
  #request(method, path, body) {
    return this.#api.signedIn(method, `/v1/admin/${path}`, body);
  }
}

/** @param {string} user_id */
const userPath = (user_id) => `users/${encodeURIComponent(user_id)}`;

/** @param {string} [before] */
const paged = (before) => new URLSearchParams({ limit: String(PAGE), ...(before && { before }) });
