// The members of a channel: nobody loads all of them. Pages in the order of their ids, and members by name: accounts that
// the search of people finds, as far as they are members. Loaded when it is first needed.

import { isMember } from "../groups.js";
import { compareIds } from "../ids.js";
import { Store } from "./store.js";

/** @import {Api} from "../api.js" */
/** @import {Chats} from "./chats.js" */
/** @import {Control, ListMembersResponse, Member} from "../wire.js" */
/** @typedef {{api: Pick<Api, "findPeople" | "members" | "signedIn">, chats: Pick<Chats, "found" | "profiles">}} Source */

/** Members on a page; their profiles are one request. */
const PAGE = 100;
/** The pause in typing after which the search begins. */
const PAUSE_MS = 200;
/** Names of a text that are searched, the last ones. */
const MAX_NAMES = 5;
/** Members of a channel that can be mentioned since they were found: the last ones. */
const MAX_FOUND = 200;

/**
 * Those of some users who are members of a group.
 * @param {Pick<Source, "api">} source
 * @param {string} chat_id
 * @param {readonly string[]} user_ids at most 100
 * @returns {Promise<readonly Member[]>}
 */
export async function membersAmong({ api }, chat_id, user_ids) {
  if (!user_ids.length) return [];
  const path = `/v1/chats/${encodeURIComponent(chat_id)}/members?user_ids=${user_ids.join(",")}`;
  /** @type {ListMembersResponse} */
  const { members = [] } = await api.signedIn("GET", path);
  return members;
}

/** Some members with a name; from then on, the user can mention them. @param {Source} source @param {string} chat_id @param {string} name */
export async function membersNamed({ api, chats }, chat_id, name) {
  const { profiles } = await api.findPeople(name);
  const members = await membersAmong({ api }, chat_id, profiles.map(({ user_id }) => user_id));
  const found = [...(chats.found.get(chat_id) ?? []), ...members.map(({ user_id }) => user_id)];
  chats.found.set(chat_id, new Set(found.slice(-MAX_FOUND)));
  chats.profiles.put(profiles);
  return members;
}

/** A word after `@`, which may begin a name. */
const MENTION = /(?<=@)[\p{L}\p{M}\p{N}_.-]*[\p{L}\p{M}\p{N}]/gu;

/** Finds the members whom a text may mention. @param {Source} source @param {string} chat_id @param {string} text */
export async function findMentioned(source, chat_id, text) {
  const names = [...new Set(text.match(MENTION))].slice(-MAX_NAMES);
  await Promise.all(names.map((name) => membersNamed(source, chat_id, name).catch(() => []))); // the server is away
}

export class ChannelMembers extends Store {
  /** @type {"loading" | "ready" | "failed"} of the page or the search that was requested last */
  phase = "loading";
  #source;
  #chat_id;
  /** @type {readonly Member[]} by rising user_id */
  #listed = [];
  #hasMore = true;
  /** Of the chat: older control changes are part of the first page, or were folded. */
  #version = "0";
  /** The name that is searched; empty for none. */
  #name = "";
  /** The members with the name; null until they are found. @type {readonly Member[] | null} */
  #found = null;
  /** Rises with each search, so that a late response to an older one is ignored. */
  #search = 0;
  /** Whether a page is being loaded. */
  #isLoading = false;

  /** @param {Source} source @param {string} chat_id */
  constructor(source, chat_id) {
    super();
    this.#source = source;
    this.#chat_id = chat_id;
    void this.load();
  }

  /** Those with the searched name; without a search, the loaded ones. */
  get members() {
    return this.#found ?? this.#listed;
  }

  /** Whether `members` are those with the searched name. */
  get areFound() {
    return this.#found !== null;
  }

  /** Whether `load` would load a further page. */
  get canGrow() {
    return this.phase === "ready" && !this.#name && this.#hasMore && !this.#isLoading;
  }

  /** Searches members by name. @param {string} name empty for all */
  find(name) {
    const search = ++this.#search;
    this.#name = name;
    if (name) return void setTimeout(() => search === this.#search && void this.load(), PAUSE_MS);
    this.#found = null;
    if (this.phase === "failed") this.#set("ready"); // the search failed, not the list
  }

  /** Loads the next page, or the members with the searched name; again after a failure. */
  async load() {
    const search = this.#search;
    try {
      if (this.#name) await this.#loadFound(search);
      else await this.#loadPage();
      this.#set("ready");
    } catch {
      if (search === this.#search) this.#set("failed");
    }
  }

  /** @param {number} search */
  async #loadFound(search) {
    const found = await membersNamed(this.#source, this.#chat_id, this.#name);
    if (search === this.#search) this.#found = found;
  }

  async #loadPage() {
    if (this.#isLoading || !this.#hasMore) return;
    this.#isLoading = true;
    try {
      const after = this.#listed.at(-1)?.user_id ?? "0";
      const { members = [], has_more = false, version = "0" } = await this.#source.api.members(this.#chat_id, after, PAGE);
      this.#listed = [...this.#listed, ...members.filter(({ user_id }) => compareIds(user_id, after) > 0)];
      this.#hasMore = has_more;
      if (after === "0") this.#version = version;
    } finally {
      this.#isLoading = false;
    }
  }

  /** @param {Control} control that has arrived, or is of history */
  fold({ version, members = [] }) {
    if (compareIds(version, this.#version) <= 0) return;
    this.#version = version;
    const changed = new Map(members.map((member) => [member.user_id, member]));
    const isKept = (/** @type {Member} */ { user_id }) => !changed.has(user_id);
    const last = this.#listed.at(-1)?.user_id ?? "0";
    const isLoaded = (/** @type {Member} */ { user_id }) => !this.#hasMore || compareIds(user_id, last) <= 0;
    const all = [...this.#listed.filter(isKept), ...members.filter((member) => isMember(member) && isLoaded(member))];
    this.#listed = all.sort((one, other) => compareIds(one.user_id, other.user_id));
    this.#found &&= this.#found.flatMap((member) => changed.get(member.user_id) ?? member).filter(isMember);
    this.changed();
  }

  /** @param {ChannelMembers["phase"]} phase */
  #set(phase) {
    this.phase = phase;
    this.changed();
  }
}
