// The members of groups that were asked for: pages of the archive, kept up to date by the control changes that arrive.

import { isMember, MAX_MEMBERS, ROLES } from "./groups.js";
import { compareIds, idAbove, laterId } from "./ids.js";
import { Store } from "./stores/store.js";

/** @import {Control, ListMembersResponse, Member} from "./wire.js" */

/** Groups in memory: the ones that changed last. */
const MAX_ROSTERS = 20;
/** The archive lags behind sessions: the pauses after which members are read again, in milliseconds. */
const PAUSES_MS = [500, 1_000, 2_000, 4_000, 8_000, 16_000];

/**
 * @typedef {object} Roster
 * @property {"new" | "loading" | "ready" | "failed"} phase
 * @property {string} version of the chat that the members are of
 * @property {string} [newest] of the control change that arrived after a missing one
 * @property {readonly Member[]} members present ones, the most powerful role first, then by user_id
 */
/** @type {Roster} */
const UNKNOWN = { phase: "new", version: "0", members: [] };

export class Rosters extends Store {
  #fetch;
  #versionOf;
  /** @type {Map<string, Roster>} the one that changed last is the last */
  #all = new Map();
  /** The loads under way. @type {Map<string, Promise<void>>} by chat_id */
  #loads = new Map();

  /**
   * @param {(chat_id: string, after: string) => Promise<ListMembersResponse>} fetch a page of members
   * @param {(chat_id: string) => string} versionOf the version of the chat, as far as the page knows it
   */
  constructor(fetch, versionOf) {
    super();
    this.#fetch = fetch;
    this.#versionOf = versionOf;
  }

  /** The members as far as they are loaded. @param {string} chat_id */
  of(chat_id) {
    return this.#all.get(chat_id) ?? UNKNOWN;
  }

  /** Loads the members, unless they are loaded and up to date. Returns when this has ended. @param {string} chat_id */
  async load(chat_id) {
    if (!this.#loads.has(chat_id) && this.#isCurrent(chat_id)) return;
    if (!this.#loads.has(chat_id)) this.#loads.set(chat_id, this.#load(chat_id));
    await this.#loads.get(chat_id);
  }

  /** @param {string} chat_id */
  async #load(chat_id) {
    this.#set(chat_id, { phase: "loading" });
    try {
      for (const pause_ms of [...PAUSES_MS, 0]) {
        this.#set(chat_id, await this.#read(chat_id));
        if (this.#isCurrent(chat_id)) break;
        if (pause_ms) await new Promise((resolve) => setTimeout(resolve, pause_ms));
      }
      this.#set(chat_id, { phase: "ready" });
    } catch {
      this.#set(chat_id, { phase: "failed" });
    }
    this.#loads.delete(chat_id);
  }

  /** @param {string} chat_id @param {Control} control that has arrived */
  fold(chat_id, { version, members = [] }) {
    const roster = this.#all.get(chat_id);
    if (!roster && version === "1") this.#set(chat_id, { phase: "ready", version, members: sorted(members) });
    if (!roster || compareIds(version, roster.version) <= 0) return;
    if (version !== idAbove(roster.version)) {
      this.#set(chat_id, { newest: laterId(roster.newest ?? "0", version) });
      return void this.load(chat_id);
    }
    const changed = new Set(members.map(({ user_id }) => user_id));
    const others = roster.members.filter(({ user_id }) => !changed.has(user_id));
    this.#set(chat_id, { version, members: sorted([...others, ...members]) });
  }

  /** @param {string} chat_id */
  #isCurrent(chat_id) {
    const { version, newest = "0" } = this.of(chat_id);
    return version !== "0" && compareIds(version, laterId(newest, this.#versionOf(chat_id))) >= 0;
  }

  /** Reads all pages, of one version. @param {string} chat_id @returns {Promise<Pick<Roster, "version" | "members">>} */
  async #read(chat_id) {
    /** @type {Member[]} */
    const all = [];
    let first = "";
    for (let page = await this.#fetch(chat_id, "0"); ; page = await this.#fetch(chat_id, all.at(-1)?.user_id ?? "0")) {
      const { members = [], version = "0", has_more = false } = page;
      first ||= version;
      if (version !== first) return this.#read(chat_id); // the group has changed between two pages
      all.push(...members);
      // A group that has more is a channel, which the page did not know yet.
      if (!has_more || !members.length || all.length >= MAX_MEMBERS) return { version, members: sorted(all) };
    }
  }

  /** @param {string} chat_id @param {Partial<Roster>} change */
  #set(chat_id, change) {
    const after = { ...this.of(chat_id), ...change };
    this.#all.delete(chat_id);
    this.#all.set(chat_id, after);
    const [longest] = this.#all.keys();
    if (this.#all.size > MAX_ROSTERS && longest !== undefined) this.#all.delete(longest);
    this.changed();
  }
}

/** @param {Member[]} members */
function sorted(members) {
  const power = (/** @type {Member} */ { role = "ROLE_UNSPECIFIED" }) => ROLES.indexOf(role);
  return members
    .filter(isMember)
    .sort((one, other) => power(other) - power(one) || compareIds(one.user_id, other.user_id));
}
