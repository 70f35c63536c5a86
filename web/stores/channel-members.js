// The members of a channel: nobody loads all of them. Pages in the order of their ids, and members by name, which the
// server finds among a bounded number of accounts with such names. Loaded when it is first needed.

import { isSearchable } from "../api.js";
import { displayName } from "../format.js";
import { isMember } from "../groups.js";
import { compareIds, laterId } from "../ids.js";
import { EVERYONE, IN_WORD, Names } from "../mentions.js";
import { Store } from "./store.js";

/** @import {Api} from "../api.js" */
/** @import {Chats} from "./chats.js" */
/** @import {ProfilesPage} from "../types.js" */
/** @import {Control, ListMembersResponse, Member} from "../wire.js" */
/** @typedef {{api: Pick<Api, "members" | "signedIn">, chats: Pick<Chats, "found" | "profiles">}} Source */

/** Members on a page; their profiles are one request. */
const PAGE = 100;
/** Requests of one search of the list, each for the members among at most 1,000 accounts with the name. */
const MAX_REQUESTS = 10;
/** Members to mention that one search finds. */
const MENTIONED = 20;
/** The pause in typing after which the search begins. */
const PAUSE_MS = 200;
/** Names of a text that are searched, the last ones. */
const MAX_NAMES = 5;
/** Members of a channel that can be mentioned since they were found: the last ones. */
const MAX_FOUND = 200;
/** Members whose changes are kept, the last ones: far more than an archive lags behind. */
const MAX_CHANGED = 1_000;

/**
 * Those of some users who are members of a group.
 * @param {Pick<Source, "api">} source
 * @param {string} chat_id
 * @param {readonly string[]} user_ids at most 100
 * @returns {Promise<readonly Member[]>}
 */
export async function membersAmong(source, chat_id, user_ids) {
  return (await readAmong(source, chat_id, user_ids)).members ?? [];
}

/**
 * The same, with the version of the group.
 * @param {Pick<Source, "api">} source
 * @param {string} chat_id
 * @param {readonly string[]} user_ids
 * @returns {Promise<ListMembersResponse>}
 */
async function readAmong({ api }, chat_id, user_ids) {
  if (!user_ids.length) return {};
  const path = `/v1/chats/${encodeURIComponent(chat_id)}/members?user_ids=${user_ids.join(",")}`;
  return api.signedIn("GET", path);
}

/**
 * A page of the members with a name. It may have few members, or none, and a `next_cursor`. No member has a name that is longer
 * than the server takes.
 * @param {Source} source
 * @param {string} chat_id
 * @param {string} name
 * @param {number} limit at most 100
 * @param {string} [cursor] of the page; empty for the first one
 * @returns {Promise<ProfilesPage>}
 */
async function findMembers({ api, chats }, chat_id, name, limit, cursor = "") {
  if (!isSearchable(name)) return { profiles: [], next_cursor: "" };
  const path = `/v1/chats/${encodeURIComponent(chat_id)}/profiles`;
  const query = new URLSearchParams({ name_contains: name, limit: String(limit), cursor });
  /** @type {ProfilesPage} */
  const page = await api.signedIn("GET", `${path}?${query}`);
  chats.profiles.put(page.profiles);
  return page;
}

/** Some members with a name; from then on, the user can mention them. @param {Source} source @param {string} chat_id @param {string} name */
export async function membersNamed(source, chat_id, name) {
  const page = await findMembers(source, chat_id, name, MENTIONED);
  const { found } = source.chats;
  const all = [...(found.get(chat_id) ?? []), ...page.profiles.map(({ user_id }) => user_id)];
  found.set(chat_id, new Set(all.slice(-MAX_FOUND)));
  return page;
}

/** `@`, unless it is part of a longer word, and a word after it, which may begin a name. */
const MENTION = new RegExp(`(?<!${IN_WORD.source})@([\\p{L}\\p{M}\\p{N}_.-]*[\\p{L}\\p{M}\\p{N}])`, "gu");

/**
 * Finds the members whom a text may mention, other than the known ones.
 * @param {Source & {chats: Pick<Chats, "members">}} source
 * @param {string} chat_id
 * @param {string} text
 */
export async function findMentioned(source, chat_id, text) {
  const ofMembers = source.chats.members(chat_id).flatMap((member) => [member.name, displayName(member)]);
  const known = new Names([...ofMembers, ...EVERYONE].map((name) => ({ name })));
  const unknown = [...text.matchAll(MENTION)].filter(({ index }) => !known.at(text, index));
  const names = [...new Set(unknown.map(([, name = ""]) => name))].slice(-MAX_NAMES);
  await Promise.all(names.map((name) => membersNamed(source, chat_id, name).catch(() => null))); // the server is away
}

export class ChannelMembers extends Store {
  /** @type {"loading" | "ready" | "failed"} of the page or the search that was requested last */
  phase = "loading";
  #source;
  #chat_id;
  /** @type {readonly Member[]} by rising user_id */
  #listed = [];
  #hasMore = true;
  /** Of the chat: control changes up to it are part of the first page, or were forgotten. */
  #version = "0";
  /** The members that control changes have changed last, at most MAX_CHANGED. @type {Map<string, {version: string, member: Member}>} */
  #changed = new Map();
  /** The name that is searched; empty for none. */
  #name = "";
  /** The members with the name; null until they are found. @type {readonly Member[] | null} */
  #found = null;
  /** Whether the search has not read all accounts with the name. */
  #isPartial = false;
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

  /** Whether a longer name may find members who are not among these. */
  get arePartial() {
    return this.areFound && this.#isPartial;
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

  /** Reads on until a page of members is found. @param {number} search */
  async #loadFound(search) {
    let cursor = "";
    for (let requests = 0; requests < MAX_REQUESTS; requests++) {
      const { members, next_cursor = "" } = await this.#findPage(cursor);
      if (search !== this.#search) return;
      this.#found = cursor ? [...(this.#found ?? []), ...members] : members;
      this.#isPartial = next_cursor !== "";
      if (!next_cursor || this.#found.length >= PAGE) return;
      this.changed();
      cursor = next_cursor;
    }
  }

  /** @param {string} cursor */
  async #findPage(cursor) {
    const { profiles, next_cursor } = await findMembers(this.#source, this.#chat_id, this.#name, PAGE, cursor);
    const ids = profiles.map(({ user_id }) => user_id);
    const { members = [], version = "0" } = await readAmong(this.#source, this.#chat_id, ids);
    const found = new Map(members.map((each) => [each.user_id, each]));
    const present = ids.flatMap((user_id) => {
      const changed = this.#changed.get(user_id);
      return (changed && compareIds(changed.version, version) > 0 ? changed.member : found.get(user_id)) ?? [];
    });
    return { members: present.filter(isMember), next_cursor };
  }

  async #loadPage() {
    if (this.#isLoading || !this.#hasMore) return;
    this.#isLoading = true;
    try {
      const after = this.#listed.at(-1)?.user_id ?? "0";
      const { members = [], has_more = false, version = "0" } = await this.#source.api.members(this.#chat_id, after, PAGE);
      this.#listed = [...this.#listed, ...members.filter(({ user_id }) => compareIds(user_id, after) > 0)];
      this.#hasMore = has_more;
      if (after === "0") this.#version = laterId(this.#version, version);
      const newer = [...this.#changed.values()].filter((each) => compareIds(each.version, version) > 0);
      this.#apply(newer.map(({ member }) => member)); // the archive lags
    } finally {
      this.#isLoading = false;
    }
  }

  /** @param {Control} control that has arrived, or is of history */
  fold({ version, members = [] }) {
    const knownOf = (/** @type {string} */ user_id) => laterId(this.#version, this.#changed.get(user_id)?.version ?? "0");
    const newer = members.filter(({ user_id }) => compareIds(version, knownOf(user_id)) > 0);
    for (const member of newer) {
      this.#changed.delete(member.user_id); // so that the last change is at the end
      this.#changed.set(member.user_id, { version, member });
    }
    this.#forgetOldest();
    this.#apply(newer);
    this.changed();
  }

  #forgetOldest() {
    for (const [user_id, { version }] of this.#changed) {
      if (this.#changed.size <= MAX_CHANGED) return;
      this.#changed.delete(user_id);
      this.#version = laterId(this.#version, version);
    }
  }

  /** @param {readonly Member[]} members as they are now */
  #apply(members) {
    const changed = new Map(members.map((member) => [member.user_id, member]));
    const isKept = (/** @type {Member} */ { user_id }) => !changed.has(user_id);
    const last = this.#listed.at(-1)?.user_id ?? "0";
    const isLoaded = (/** @type {Member} */ { user_id }) => !this.#hasMore || compareIds(user_id, last) <= 0;
    const all = [...this.#listed.filter(isKept), ...members.filter((member) => isMember(member) && isLoaded(member))];
    this.#listed = all.sort((one, other) => compareIds(one.user_id, other.user_id));
    this.#found &&= this.#found.flatMap((member) => changed.get(member.user_id) ?? member).filter(isMember);
  }

  /** @param {ChannelMembers["phase"]} phase */
  #set(phase) {
    this.phase = phase;
    this.changed();
  }
}
