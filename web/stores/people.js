// The user's connections and blocks: read when a part of the page first shows them, and again at each signal.

import { Loaded } from "./loaded.js";
import { Store } from "./store.js";

/** @import {Api} from "../api.js" */
/** @import {Sync} from "./sync.js" */

/** Connected; invited by the user; or the other one has invited the user. @typedef {"connected" | "invited" | "invites_me"} Connected */
/** @typedef {{user_id: string, state: Connected, since_ms: string}} Connection */
/** @typedef {{connections: readonly Connection[], blocked: readonly string[]}} Relations */
/**
 * A report of a person, with messages of a chat in which they are.
 * @typedef {{user_id: string, chat_id?: string, message_ids?: string[], reason: string}} Report
 */

const CONNECTIONS = "/v1/me/connections";
const BLOCKS = "/v1/me/blocks";

export class People extends Store {
  #api;
  /** @type {Loaded<Relations>} */
  #relations;
  #isWanted = false;

  /** @param {Pick<Api, "signedIn">} api @param {Store} signals changes when the connections or blocks may have changed */
  constructor(api, signals) {
    super();
    this.#api = api;
    this.#relations = new Loaded(() => this.#request());
    this.#relations.subscribe(() => this.changed());
    signals.subscribe(() => this.#isWanted && void this.#relations.load());
  }

  /** The connections and blocks, as far as they are loaded; the first call loads them. */
  get relations() {
    if (!this.#isWanted) {
      this.#isWanted = true;
      queueMicrotask(() => void this.#relations.load()); // views read it while they are described
    }
    return this.#relations;
  }

  /** Reads the connections and blocks. */
  read() {
    this.#isWanted = true;
    return this.#relations.load();
  }

  /** The connection with a user; undefined if there is none, or none is loaded. @param {string} user_id */
  connectionWith(user_id) {
    return this.relations.value?.connections.find((one) => one.user_id === user_id);
  }

  /** Whether the user has blocked another one, as far as that is loaded. @param {string} user_id */
  isBlocked(user_id) {
    return this.relations.value?.blocked.includes(user_id) === true;
  }

  /** Invites a user, or accepts their invitation. @param {string} user_id */
  async connect(user_id) {
    /** @type {{connection: Connection}} */
    const { connection } = await this.#api.signedIn("PUT", `${CONNECTIONS}/${user_id}`);
    this.#change(({ connections, blocked }) => ({ connections: [...without(connections, user_id), connection], blocked }));
  }

  /** Takes an invitation back, declines it, or ends the connection. @param {string} user_id */
  async disconnect(user_id) {
    await this.#api.signedIn("DELETE", `${CONNECTIONS}/${user_id}`);
    this.#change(({ connections, blocked }) => ({ connections: without(connections, user_id), blocked }));
  }

  /** Blocks a user, which ends the connection with them. @param {string} user_id */
  async block(user_id) {
    await this.#api.signedIn("PUT", `${BLOCKS}/${user_id}`);
    this.#change(({ connections, blocked }) => ({ connections: without(connections, user_id), blocked: [...blocked.filter((one) => one !== user_id), user_id] }));
  }

  /** @param {string} user_id */
  async unblock(user_id) {
    await this.#api.signedIn("DELETE", `${BLOCKS}/${user_id}`);
    this.#change(({ connections, blocked }) => ({ connections, blocked: blocked.filter((one) => one !== user_id) }));
  }

  /** Sends a report to the admins. @param {Report} report @returns {Promise<{report_id: string}>} */
  report(report) {
    return this.#api.signedIn("POST", "/v1/reports", report);
  }

  /** @returns {Promise<Relations>} */
  async #request() {
    const [{ connections = [] }, { user_ids = [] }] = await Promise.all(
      [CONNECTIONS, BLOCKS].map((path) => this.#api.signedIn("GET", path)),
    );
    return { connections, blocked: user_ids };
  }

  /** Shows what the user has changed, and reads the rest again. @param {(before: Relations) => Relations} change */
  #change(change) {
    const { value } = this.#relations;
    if (value) this.#relations.put(change(value));
    void this.#relations.load();
  }
}

/** @param {readonly Connection[]} connections @param {string} user_id */
const without = (connections, user_id) => connections.filter((one) => one.user_id !== user_id);

/** The people of each session. @type {WeakMap<Sync, People>} */
const all = new WeakMap();

/** The people of a page: the same for all its parts. @param {{api: Pick<Api, "signedIn">, sync: Sync}} app */
export function peopleOf({ api, sync }) {
  const people = all.get(sync) ?? new People(api, sync.people);
  all.set(sync, people);
  return people;
}
