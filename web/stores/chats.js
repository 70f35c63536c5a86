// The user's chats: the list, their messages, their members and who is typing. The list is merged from the archive's
// pages and from live events; the result does not depend on the order in which they arrive.

import { Api, Problem } from "../api.js";
import {
  chatFromWire,
  emptyChat,
  inOrder,
  isNew,
  otherMember,
  withChatChanges,
  withMentionChanged,
  withMessage,
  withNewestChanged,
} from "../chats.js";
import { Clock } from "../clock.js";
import { Conversations } from "../conversations.js";
import { withoutDirectionControls } from "../format.js";
import { canReadMore, isFormer, isMember, isRequest, withGroupOf } from "../groups.js";
import { compareIds, idBelow, isGroup, laterId, timeOfId } from "../ids.js";
import { isDeleted } from "../kinds/deleted.js";
import { isMentioned } from "../kinds/edited.js";
import { LISTED_KINDS } from "../kinds/listed.js";
import { marksOf, readUpTo, unreadAfter } from "../kinds/marked.js";
import { ownSettings } from "../kinds/own.js";
import { Listed } from "../listed.js";
import { fromHistory, fromWire, withChanges } from "../messages.js";
import { Presence } from "../presence.js";
import { Profiles } from "../profiles.js";
import { Quotes } from "../quotes.js";
import { Rosters } from "../rosters.js";
import { Typing } from "../typing.js";
import { Store } from "./store.js";

/** @import {Copy} from "./recent.js" */
/** @import {ListedKind} from "../kinds/listed.js" */
/** @import {ChangeEvent} from "../changes.js" */
/** @import {Chat, Message, User} from "../types.js" */
/** @import {Chat as WireChat, Control, Event as WireEvent, Marked} from "../wire.js" */

/** The archive lags behind sessions: the pauses after which a group is read, in milliseconds. */
const PAUSES_MS = [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000];
/** Further pages of the list that are loaded for a search. */
const MAX_SEARCHED = 20;

export class Chats extends Store {
  /** @type {"loading" | "ready" | "failed"} of the list */
  phase = "loading";
  /** Whether the list shows copies from this browser, until its first page is loaded. */
  isStored = false;
  /** Whether the load of the list that ended last, of its first page or a further one, has failed. */
  hasFailed = false;
  /** An event id: the list has all events up to it, as far as it shows them. 0: not known. */
  listed_up_to = "0";
  /**
   * Called with the newest message of others in a chat that is not marked as delivered.
   * @param {string} _chat_id
   * @param {string} _message_id
   */
  onUndelivered = (_chat_id, _message_id) => {};
  /**
   * Called with a mark of the user in a copied chat that the server does not have: the page closed before it was sent.
   * @param {string} _chat_id
   * @param {Marked} _marked
   */
  onUnsent = (_chat_id, _marked) => {};
  /**
   * Called with an event that may change the counts of a chat, as only the archive knows: `readMissed` reads them.
   * @param {string} _event_id
   */
  onUncounted = (_event_id) => {};
  /** Called after each change of a channel. */
  onChannel = () => {};
  /**
   * Called with each control change of a group that arrives.
   * @param {string} _chat_id
   * @param {Control} _control
   */
  onControl = (_chat_id, _control) => {};
  /** Members of channels whom the user can mention, besides those who wrote, by chat_id. @type {Map<string, Set<string>>} */
  found = new Map();
  typing = new Typing();
  clock = new Clock();
  #api;
  /** @type {Map<string, Chat>} */
  #chats = new Map();
  /** In order; null after a change. @type {Chat[] | null} */
  #sorted = null;
  #nextPage = "";
  /** Of a page of the list. @type {Promise<void> | null} */
  #loading = null;
  #lists;
  /** The groups that are being read, and whether their messages are to be read then. @type {Map<string, boolean>} */
  #reading = new Map();
  /** The copied chats that the server has not returned yet. @type {Set<string>} */
  #restored = new Set();
  /** Groups that do not exist, or are not this user's. @type {Set<string>} */
  #missing = new Set();
  /** The group whose creation arrived last, until it is opened: nothing is pinned in it that has not arrived, too. */
  #created = "";
  /** Returns the id above which the reader of the open chat wants messages; empty: the newest ones. */
  #place = () => "";
  /** @type {Promise<void>} of the first page */
  #firstPage = Promise.resolve();

  /** @param {Api} api @param {User} me */
  constructor(api, me) {
    super();
    this.#api = api;
    this.me = me;
    this.profiles = new Profiles(async (user_ids) => (await api.profiles(user_ids)).profiles, me.user_id);
    this.profiles.put([me]);
    this.presence = new Presence(me.user_id);
    this.conversations = new Conversations(
      (chat_id, query) => api.messages(chat_id, query),
      (chat_id, after) => api.changes(chat_id, after),
      (chat_id) => this.isChannel(chat_id),
    );
    this.conversations.onMissed = (event) => this.#apply(event);
    this.conversations.onDropped = (chat_id) => this.#forget(chat_id);
    this.quotes = new Quotes(this.conversations, (chat_id, query) => api.messages(chat_id, query));
    const listOf = (/** @type {ListedKind} */ kind) =>
      new Listed(kind, this.quotes, async (chat_id, before_id) => api.messagesHaving(chat_id, kind, before_id));
    this.listed = /** @type {Record<ListedKind, Listed>} */ (
      Object.fromEntries(LISTED_KINDS.map((kind) => [kind, listOf(kind)]))
    );
    this.#lists = Object.values(this.listed);
    this.rosters = new Rosters(
      (chat_id, after) => api.members(chat_id, after),
      (chat_id) => this.of(chat_id).group?.version ?? "0",
    );
    const parts = [this.profiles, this.presence, this.conversations, this.quotes, ...this.#lists, this.rosters, this.typing];
    for (const part of parts) part.subscribe(() => this.changed());
  }

  /** The chat that is open on the page; empty if none is. */
  get openChat() {
    return this.conversations.openChat;
  }

  /** Chats with messages, the most recent first. */
  get all() {
    return (this.#sorted ??= inOrder(this.#chats.values()));
  }

  /** @param {string} chat_id */
  of(chat_id) {
    return this.#chats.get(chat_id) ?? emptyChat(chat_id, [this.me.user_id, this.otherOf(chat_id)].filter(Boolean));
  }

  /** The other person of a direct chat; empty if it is not one of this user's. @param {string} chat_id */
  otherOf(chat_id) {
    return otherMember(chat_id, this.me.user_id);
  }

  /** The profile of the other member of a direct chat, if it is loaded. @param {string} chat_id */
  partner(chat_id) {
    return this.profiles.get(this.otherOf(chat_id));
  }

  /** The name of a group, or of the other member; empty while it is loading. @param {string} chat_id */
  titleOf(chat_id) {
    if (isGroup(chat_id)) return withoutDirectionControls(this.of(chat_id).group?.settings.name ?? "");
    return this.profiles.nameOf(this.otherOf(chat_id));
  }

  /** The token of the picture of a group, or of the other member; empty for none. @param {string} chat_id */
  pictureOf(chat_id) {
    return (isGroup(chat_id) ? this.of(chat_id).group?.settings : this.partner(chat_id))?.avatar ?? "";
  }

  /** Whether the chat does not exist, or is not this user's. @param {string} chat_id */
  isMissing(chat_id) {
    if (isGroup(chat_id)) return this.#missing.has(chat_id) && !this.of(chat_id).newest;
    const other = this.otherOf(chat_id);
    return !other || this.profiles.isMissing(other);
  }

  /** @param {string} chat_id */
  isChannel(chat_id) {
    return this.of(chat_id).group?.settings.is_channel === true;
  }

  /**
   * Whether the user can't write in the chat any more: the other member's account is deleted, or the user has left.
   * @param {string} chat_id
   */
  isClosed(chat_id) {
    return isFormer(this.of(chat_id)) || this.partner(chat_id)?.deleted === true;
  }

  /**
   * The ids of a chat's members. Of a group: the loaded ones. Of a channel: the authors of messages in memory, except
   * former members that left after their last message, and the members that the server has found.
   * @param {string} chat_id
   */
  memberIds(chat_id) {
    if (this.isChannel(chat_id)) {
      const authors = new Set();
      for (const { sender_id, control } of this.conversations.known(chat_id)) {
        authors.add(sender_id);
        for (const member of control?.members ?? []) if (!isMember(member)) authors.delete(member.user_id);
      }
      return [...new Set([...authors, ...(this.found.get(chat_id) ?? [])])];
    }
    return isGroup(chat_id) ? this.rosters.of(chat_id).members.map(({ user_id }) => user_id) : this.of(chat_id).member_ids;
  }

  /** The profiles of a chat's members, as far as they are loaded, the user's own last. @param {string} chat_id */
  members(chat_id) {
    const others = this.memberIds(chat_id).filter((user_id) => user_id !== this.me.user_id);
    return [...others.flatMap((user_id) => this.profiles.get(user_id) ?? []), this.me];
  }

  /** Loads the members of a group that is no channel, and the profiles that are not cached. @param {string} chat_id */
  async loadMembers(chat_id) {
    if (!isGroup(chat_id) || this.isChannel(chat_id)) return;
    await this.rosters.load(chat_id);
    this.members(chat_id); // queues the profiles
    const isUnknown = (/** @type {string} */ user_id) => !this.profiles.cached(user_id) && !this.profiles.isMissing(user_id);
    if (this.memberIds(chat_id).some(isUnknown)) await this.profiles.fetchQueued();
  }

  /** The newest message of a chat, with all that is known of its state. @param {Chat} chat */
  newestOf({ chat_id, newest }) {
    const loaded = newest && this.conversations.find(chat_id, newest.message_id);
    return loaded ? withChanges(loaded, newest.changes.values()) : newest;
  }

  /** The id above which messages of others are unread; empty if none are. @param {string} chat_id */
  unreadMark(chat_id) {
    const chat = this.of(chat_id);
    return chat.unread ? readUpTo(chat, this.me.user_id) : "";
  }

  /** Shows copies of chats until the server's are loaded. @param {readonly Copy[]} copies */
  restore(copies) {
    for (const { chat, profiles, ...copy } of copies) {
      this.#chats.set(chat.chat_id, chat);
      this.#restored.add(chat.chat_id);
      this.conversations.restore(chat.chat_id, copy);
      for (const list of this.#lists) list.restore(copy.messages);
      this.profiles.restore(profiles);
    }
    this.listed_up_to = copies.map(({ listed_up_to }) => listed_up_to).sort(compareIds)[0] ?? "0";
    this.isStored = copies.length > 0;
    this.#sorted = null;
    this.changed();
  }

  /** Loads the first page of the list, or the next one, unless it is being loaded. */
  load() {
    const loading = (this.#loading ??= this.#load().finally(() => (this.#loading = null)));
    if (this.phase !== "ready") this.#firstPage = loading;
    return loading;
  }

  /** Whether the list goes on after the chats that are loaded. */
  get hasMore() {
    return this.#nextPage !== "";
  }

  /** Loads the next page of the list, if there is one. */
  async loadMore() {
    if (this.#nextPage && this.phase === "ready") await this.load();
  }

  /** Loads further pages of the list, among which a search looks for names. */
  async loadSearched() {
    await this.#firstPage;
    for (let count = 0; count < MAX_SEARCHED && this.#nextPage && this.phase === "ready"; count++) {
      const cursor = this.#nextPage;
      await this.load();
      if (cursor === this.#nextPage) return; // the server is away
    }
  }

  /** Loads all pages of the list. @throws {import("../api.js").Problem | import("../api.js").NoResponse} */
  async loadAll() {
    await this.#firstPage;
    if (this.phase === "ready" && !this.hasMore) return;
    await this.#readList("0", Infinity, () => {});
    this.#nextPage = "";
    this.phase = "ready";
    this.isStored = this.hasFailed = false;
    this.changed();
  }

  async #load() {
    try {
      const { chats = [], next_cursor = "", complete_up_to = "0" } = await this.#api.chats({ cursor: this.#nextPage });
      this.#nextPage = next_cursor;
      // With copies, other chats than those of the first page may have changed since: `readMissed` reads all of them.
      if (this.listed_up_to === "0") this.listed_up_to = complete_up_to;
      this.phase = "ready";
      this.isStored = this.hasFailed = false;
      this.merge(chats);
    } catch {
      this.hasFailed = true;
      if (this.phase === "loading") this.phase = "failed";
    }
    this.changed();
  }

  /**
   * Reads the events that the list and the messages in memory lack.
   * @param {number} since_ms older messages are no news
   * @param {(message: Message) => void} onMissed called with the newest message of each chat of which no device of the
   * user had received it, as `#newsSince` returns it
   * @returns {Promise<boolean>} whether all is read: then nothing up to `listed_up_to` is missing
   */
  async readMissed(since_ms, onMissed) {
    const { listed_up_to, conversations } = this;
    const { changed, complete_up_to } = await this.#readList(listed_up_to, since_ms, onMissed);
    const { held } = conversations;
    this.quotes.forget((chat_id) => changed.has(chat_id) && !conversations.isHeld(chat_id));
    const isBehind = (/** @type {string} */ chat_id) => compareIds(conversations.of(chat_id).after, listed_up_to) < 0;
    const isWhole = await conversations.catchUp(held.filter((chat_id) => changed.has(chat_id) || isBehind(chat_id)));
    if (isWhole) {
      conversations.complete(held, complete_up_to);
      for (const chat_id of held) if (changed.has(chat_id)) this.#countLoaded(chat_id);
      this.listed_up_to = laterId(this.listed_up_to, complete_up_to);
    }
    return isWhole;
  }

  /** Counts what is unread in messages without a hole: the list may lack events that are in them. @param {string} chat_id */
  #countLoaded(chat_id) {
    const chat = this.of(chat_id);
    this.#set({ ...chat, ...unreadAfter(chat, chat, this.me.user_id, this.#loaded(chat_id)) });
  }

  /**
   * Reads the chats that have changed since an event.
   * @param {string} event_id
   * @param {number} since_ms
   * @param {(message: Message) => void} onMissed see `readMissed`
   * @returns {Promise<{changed: Set<string>, complete_up_to: string}>} the ids of the chats, which are all of them up to
   * this event id
   */
  async #readList(event_id, since_ms, onMissed) {
    const changed = new Set();
    const first = await this.#readPages(event_id, changed, since_ms, onMissed);
    // A chat that changes meanwhile may move from a later page to one that was read already.
    for (let [known, last] = [0, first]; last.count > 1 && changed.size > known; ) {
      known = changed.size;
      last = await this.#readPages(last.complete_up_to, changed, since_ms, onMissed);
    }
    return { changed, complete_up_to: first.complete_up_to };
  }

  /**
   * Reads all pages of the chats that have changed since an event.
   * @param {string} event_id
   * @param {Set<string>} changed gets the ids of the chats
   * @param {number} since_ms
   * @param {(message: Message) => void} onMissed see `readMissed`
   * @returns {Promise<{count: number, complete_up_to: string}>} the number of pages, and the event id of the first
   */
  async #readPages(event_id, changed, since_ms, onMissed) {
    const changed_since_ms = timeOfId(event_id);
    let [count, cursor, complete_up_to] = [0, "", ""];
    do {
      const page = await this.#api.chats({ changed_since_ms, cursor });
      count++;
      cursor = page.next_cursor ?? "";
      complete_up_to ||= page.complete_up_to ?? "0";
      const listed = page.chats ?? [];
      const before = new Map(listed.map(({ chat_id }) => [chat_id, this.of(chat_id)]));
      for (const { chat_id } of listed) changed.add(chat_id);
      for (const message of this.merge(listed))
        if (message.at_ms > since_ms)
          (await this.#newsSince(/** @type {Chat} */ (before.get(message.chat_id)), message)).forEach(onMissed);
    } while (cursor);
    return { count, complete_up_to };
  }

  /**
   * Opens a chat, and frees the memory of the previous chat.
   * @param {string} chat_id empty for none
   * @param {string} [message_id] the message to load the chat around; empty: the first unread one, or the end
   */
  open(chat_id, message_id = "") {
    this.conversations.enter(chat_id);
    this.#place = () => (message_id ? idBelow(message_id) : this.unreadMark(chat_id));
    if (this.#lacksGroup(chat_id)) void this.#readGroup(chat_id);
    if (isGroup(chat_id) || this.otherOf(chat_id)) void this.#loadOpened(chat_id);
    this.changed();
  }

  /** @param {string} chat_id that was opened */
  async #loadOpened(chat_id) {
    const isCreated = chat_id === this.#created;
    this.#created = "";
    await this.#loadMessages(chat_id);
    if (chat_id === this.openChat && !isCreated) await this.listed.pinned.load(chat_id);
  }

  /**
   * Loads another place in the open chat, also if it fails now and is repeated.
   * @param {string} chat_id
   * @param {string} [id] the messages above it; empty: the newest ones
   */
  async move(chat_id, id = "") {
    this.#place = () => id;
    await this.conversations.open(chat_id, this.#place);
  }

  /** Repeats the loads of the open chat that failed. */
  openAgain() {
    for (const list of this.#lists) if (list.of(this.openChat).phase === "failed") void list.load(this.openChat);
    return this.conversations.openAgain(this.openChat, () => this.#loadMessages(this.openChat));
  }

  /** @param {string} chat_id */
  #loadMessages(chat_id) {
    const isListed = async (/** @type {boolean} */ isEmpty) => {
      await this.#firstPage;
      if (!isEmpty && !this.of(chat_id).newest) this.merge([await this.#api.chat(chat_id)]);
    };
    return this.conversations.open(chat_id, this.#place, isListed);
  }

  /**
   * @param {Message} message that arrived live or was just accepted
   * @param {boolean} [isRecorded] whether it answers a request, or is of history: a channel that is not open gets it, too
   */
  add(message, isRecorded = false) {
    const { chat_id, control, message_id } = message;
    const own = control?.members?.find(({ user_id }) => user_id === this.me.user_id);
    if (own && isRequest(own)) return; // the user may not read the group
    const before = this.of(chat_id);
    const chat = withMessage(before, this.conversations.current(message), this.me.user_id);
    this.#set(chat);
    const isAdded = isRecorded || this.conversations.isLive(chat_id);
    // `withMessage` counts only a new newest message; whether the list has counted an earlier one is not known.
    const isKnown = isRecorded || chat.newest !== before.newest || this.conversations.find(chat_id, message_id);
    if (!isKnown && isNew(message, chat, this.me.user_id)) this.onUncounted(message_id);
    if (isAdded) this.conversations.add(message);
    if (control) this.onControl(chat_id, control);
    for (const member of control?.members ?? []) if (!isMember(member)) this.found.get(chat_id)?.delete(member.user_id);
    if (control && !this.isChannel(chat_id)) this.rosters.fold(chat_id, control);
    if (control?.version === "1" && isAdded) this.#created = chat_id;
    if (isGroup(chat_id) && (!chat.group || chat.later.length)) void this.#readGroup(chat_id);
    else if (canReadMore(before, chat)) void this.#readGroup(chat_id, true);
    else if (!before.newest && !isGroup(chat_id)) void this.#readUnlisted(chat_id);
  }

  /** @param {WireEvent} event that answers a request of this user, which its sessions receive as well */
  received(event) {
    this.#apply(event);
  }

  /**
   * Reads a direct chat of which a first message has arrived, if the list has further pages: the chat may be on one of
   * them, with older unread messages. Repeats it until the archive returns the newest message that has arrived.
   * @param {string} chat_id
   */
  async #readUnlisted(chat_id) {
    await this.#firstPage;
    for (const pause_ms of this.hasMore ? PAUSES_MS : []) {
      await new Promise((resolve) => setTimeout(resolve, pause_ms));
      const wire = await this.#api.chat(chat_id).catch(() => undefined);
      const [read_id, arrived_id] = [wire?.newest?.message?.message_id ?? "0", this.of(chat_id).newest?.message_id ?? "0"];
      if (wire && compareIds(read_id, arrived_id) >= 0) return void this.merge([wire]);
    }
  }

  /** Whether the chat is a group that is not loaded. @param {string} chat_id */
  #lacksGroup(chat_id) {
    return isGroup(chat_id) && !this.of(chat_id).group;
  }

  /** Reads the groups among these chats that are not on the loaded pages of the list. @param {Iterable<string>} chat_ids */
  async readGroups(chat_ids) {
    await this.#firstPage;
    for (const chat_id of chat_ids) if (this.#lacksGroup(chat_id)) await this.#isRead(chat_id);
  }

  /**
   * Reads a group until the archive returns all control changes that have arrived.
   * @param {string} chat_id
   * @param {boolean} [isOpened] whether the user may read messages now that they could not read before: then its
   * messages are read again
   */
  async #readGroup(chat_id, isOpened = false) {
    const isReading = this.#reading.has(chat_id);
    this.#reading.set(chat_id, isOpened || this.#reading.get(chat_id) === true);
    if (isReading) return;
    for (const pause_ms of PAUSES_MS) {
      await new Promise((resolve) => setTimeout(resolve, pause_ms));
      if (await this.#isRead(chat_id)) break;
    }
    const isReadable = this.#reading.get(chat_id);
    this.#reading.delete(chat_id);
    if (isReadable) await this.conversations.reload(chat_id).catch(() => {});
    else if (chat_id === this.openChat) await this.openAgain();
  }

  /** Reads a group. Returns whether it need not be read again. @param {string} chat_id */
  async #isRead(chat_id) {
    try {
      const wire = await this.#api.chat(chat_id);
      this.merge([wire]);
      const { group, later } = this.of(chat_id);
      return !later.length && compareIds(wire.version ?? "0", group?.version ?? "0") >= 0;
    } catch (fault) {
      const { newest, later } = this.of(chat_id);
      const isMissing = fault instanceof Problem && fault.status === 404 && !newest && !later.length;
      if (isMissing) this.#missing.add(chat_id);
      this.changed();
      return isMissing;
    }
  }

  /** @param {WireEvent} event of history */
  #apply({ event_id = "0", message, change }) {
    if (message) this.add(fromWire(message), true);
    if (change) this.change({ event_id, change }, true);
  }

  /** Too much was missed of a chat. @param {string} chat_id */
  #forget(chat_id) {
    this.quotes.forget((other) => other === chat_id);
    if (this.isChannel(chat_id)) void this.readHead(chat_id).catch(() => {}); // no reading of the list follows, as after a Gap
    if (chat_id === this.openChat) void this.listed.pinned.load(chat_id);
  }

  /**
   * @param {ChangeEvent} event that arrived live, that the user has just made, or of history
   * @param {boolean} [isRecorded] whether it is of history
   */
  change(event, isRecorded = false) {
    const { chat_id, target_id = "0" } = event.change;
    const chat = this.of(chat_id);
    if (target_id === "0") {
      const after = withChatChanges(chat, [event], this.me.user_id, this.#loaded(chat_id));
      if (after !== chat) this.#set(after);
      return;
    }
    const newest = chat.newest?.message_id === target_id ? chat.newest : undefined;
    const message = this.conversations.find(chat_id, target_id) ?? newest;
    const mentioned = message && !isRecorded ? withMentionChanged(chat, message, event, this.me.user_id) : chat;
    // The list that was read before has the counts after changes of history, but an opened channel is read without it. The
    // unread messages without a deleted one are not counted here, and a list that is read next may lack a live mention.
    const isCounted = isRecorded ? !this.isChannel(chat_id) : message && !event.change.deleted && mentioned === chat;
    const isOwn = message?.sender_id === this.me.user_id;
    if (!isCounted && !isOwn && this.#mayChangeCounts(chat, event)) this.onUncounted(event.event_id);
    this.conversations.change(event, isRecorded);
    this.quotes.change(event);
    for (const list of this.#lists) list.change(event);
    const after = newest ? withNewestChanged(mentioned, [event]) : mentioned;
    if (after !== chat) this.#set(after);
  }

  /**
   * Whether a change to a message may change the counts of unread messages and mentions. Only own messages are edited by
   * the user; a message that the user deletes may be another's.
   * @param {Chat} chat
   * @param {ChangeEvent} event
   */
  #mayChangeCounts(chat, { change: { target_id = "0", actor_id, edited, deleted } }) {
    const isUnread = compareIds(target_id, readUpTo(chat, this.me.user_id)) > 0;
    return isUnread && (deleted ?? (actor_id === this.me.user_id ? undefined : edited)) !== undefined;
  }

  /**
   * Reads the newest message and the counts of a chat.
   * @param {string} chat_id
   * @returns {Promise<Message[]>} as of `#newsSince`; none if the newest message is known, or a device had received it
   */
  async readHead(chat_id) {
    const before = this.of(chat_id);
    const isNews = ({ message_id = "0" }) => compareIds(message_id, before.newest?.message_id ?? "0") > 0;
    const [newest] = this.merge([await this.#api.chat(chat_id)]).filter(isNews);
    return newest ? this.#newsSince(before, newest) : [];
  }

  /**
   * The messages to notify of in a chat that was read again: the newest one, which may be a control change, or no mention.
   * Then the newest new message, or mention if the chat is muted except for mentions, on the first page since the former
   * reading comes before it, or takes the place of a deleted one.
   * @param {Chat} before
   * @param {Message} newest
   * @returns {Promise<Message[]>}
   */
  async #newsSince(before, newest) {
    const { chat_id } = before;
    const [chat, me] = [this.of(chat_id), this.me.user_id];
    const isNews = (/** @type {Message} */ message) => isNew(message, chat, me) && !isDeleted(message);
    const { mute } = ownSettings(chat, me, this.clock.now_ms());
    const isWanted = (/** @type {Message} */ message) => isNews(message) && (!mute || isMentioned(message, me));
    const count = mute ? "unread_mentions" : "unread";
    const known_id = laterId(before.newest?.message_id ?? "0", readUpTo(chat, me));
    const isSilent = mute && !mute.except_mentions;
    if (isSilent || chat[count] <= before[count] || isWanted(newest) || known_id === "0") return [newest];
    const { messages = [] } = await this.#api.messages(chat_id, { after_id: known_id }).catch(() => ({ messages: [] }));
    const wanted = messages.map(fromHistory).findLast(isWanted);
    return [...(wanted ? [wanted] : []), ...(isDeleted(newest) ? [] : [newest])];
  }

  /**
   * Reads what a channel lacks since it was opened.
   * @param {string} chat_id
   * @returns {Promise<string>} an event id: nothing up to it is missing; 0 if that is not known
   */
  async readOpened(chat_id) {
    const { conversations } = this;
    const isWhole = conversations.isHeld(chat_id) && (await conversations.catchUp([chat_id]));
    return isWhole ? conversations.of(chat_id).after : "0";
  }

  /**
   * @param {readonly WireChat[]} chats as the archive returned them, which may be slightly older than live events
   * @returns {Message[]} the newest message of each chat, if no device of the user had received it
   */
  merge(chats) {
    const me = this.me.user_id;
    const fresh = [];
    for (const wire of chats) {
      const { chat_id } = wire;
      const before = this.of(chat_id);
      const listed = chatFromWire(wire);
      const known = [listed.newest, before.newest].flatMap((newest) => newest ?? []);
      const messages = [...this.conversations.known(chat_id), ...known.map((one) => this.conversations.current(one))];
      const newest_sent_id = laterId(listed.newest_sent_id, before.newest_sent_id);
      const newest = withGroupOf({ ...listed, newest_sent_id }, before, me);
      const live = messages.reduce((chat, message) => withMessage(chat, message, me), newest);
      this.#set(withChatChanges(live, before.changes.values(), me, this.#loaded(chat_id)));
      if (canReadMore(before, live)) void this.#readGroup(chat_id, true);
      if (this.#restored.delete(chat_id)) this.#compareMarks(before, listed);
      const undelivered = this.undelivered(chat_id);
      if (undelivered) this.onUndelivered(chat_id, undelivered);
      const shown = this.of(chat_id).newest;
      if (undelivered && shown) fresh.push(shown);
    }
    return fresh;
  }

  /** Passes on the user's marks that only a copy of a chat has. @param {Chat} copy @param {Chat} listed */
  #compareMarks(copy, listed) {
    const [own, known] = [marksOf(copy, this.me.user_id), marksOf(listed, this.me.user_id)];
    for (const mark of /** @type {const} */ (["delivered_up_to", "read_up_to"]))
      if (compareIds(own[mark], known[mark]) > 0) this.onUnsent(copy.chat_id, { [mark]: own[mark] });
  }

  /** @param {string} chat_id */
  #loaded(chat_id) {
    const conversation = this.conversations.of(chat_id);
    const hasNewer = conversation.hasNewer || conversation.isStored;
    return { ...conversation, messages: this.conversations.known(chat_id), hasNewer };
  }

  /** The newest message of others, if it has not been marked as delivered; else empty. @param {string} chat_id */
  undelivered(chat_id) {
    const chat = this.of(chat_id);
    const { newest } = chat;
    const delivered = marksOf(chat, this.me.user_id).delivered_up_to;
    const fresh = newest && newest.sender_id !== this.me.user_id && compareIds(newest.message_id, delivered) > 0;
    return fresh ? newest.message_id : "";
  }

  /** @param {Partial<User>} profile what the user changes @throws {import("../api.js").Problem} */
  async changeProfile(profile) {
    this.#setMe(await this.#api.changeProfile({ ...profile, version: this.me.version }));
  }

  /** Reads a profile again, since it has changed. @param {string} user_id */
  profileChanged(user_id) {
    if (user_id === this.me.user_id) this.refreshMe().catch(() => {}); // on failure the former one stays in use
    else this.profiles.refresh(user_id);
  }

  /** Reads the user's own profile again, which another device may have changed. */
  async refreshMe() {
    this.#setMe(await this.#api.me());
  }

  /** @param {User} user of a response, which may be older than another one */
  #setMe(user) {
    if (Number(user.version) < Number(this.me.version)) return;
    this.me = user;
    this.profiles.put([user]);
  }

  /** @param {Chat} chat */
  #set(chat) {
    this.#chats.set(chat.chat_id, chat);
    this.#sorted = null;
    this.changed();
    if (this.isChannel(chat.chat_id)) this.onChannel();
  }
}
