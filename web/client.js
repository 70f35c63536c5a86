// Everything a signed-in page knows and does, without its looks: chats, conversations and the outbox, kept up to date
// by a session. Components read from here, call its methods, and listen for its events.

import { Api } from "./api.js";
import { ChatBook } from "./chat-book.js";
import { Conversations } from "./conversations.js";
import { Drafts } from "./drafts.js";
import { fromEntry, fromWire, timeOfId } from "./messages.js";
import { Outbox } from "./outbox.js";
import { Profiles } from "./profiles.js";
import { Session } from "./session.js";
import { Reactions, Receipts } from "./signals.js";
import { Typing } from "./typing.js";

/** @import {Message, Refused, ServerFrame, User, Welcome, WireEvent, WireReaction, WireReceipt} from "./types.js" */

/** A send without an answer for so long means that the connection is not what it seems. */
const ANSWER_DEADLINE_MS = 10_000;
/** Receipts of a moment go out together. */
const RECEIPT_PAUSE_MS = 150;
/** What was missed is read from a little before it on: clocks differ. */
const CATCH_UP_MARGIN_MS = 60_000;
/**
 * The archive is behind the sessions: by less than the first of these pauses, and by more after an engine was away. What
 * was missed is read at once, and again after each of them.
 */
const LOOK_AGAIN_AFTER_MS = [3_000, 10_000, 30_000, 120_000];
/** The limit until the server says something else. */
const MAX_TEXT_BYTES = 16 * 1024;

/**
 * Events: "chats", "connection", "me", "signed-out"; "messages" and "typing" with a chat_id, and "arrived" with
 * another's new Message, as `detail`.
 */
export class Client extends EventTarget {
  /** @type {"loading" | "ready" | "failed"} of the list of chats */
  chatsPhase = "loading";
  /** The chat that is on the page; empty if none is. */
  openChat = "";
  maxTextBytes = MAX_TEXT_BYTES;
  #nextChats = "";
  #receipts = new Receipts();
  #reactions = new Reactions();
  #newestEvent_ms = Date.now();
  /** Events of the first session's replay that are still to come: news of before this page; null until it begins. */
  #oldEvents = /** @type {number | null} */ (null);
  /** From when on something was missed, in milliseconds since 1970; Infinity if nothing was. */
  #missedSince_ms = Infinity;
  #catchUps = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #flushTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #receiptTimer;

  /** @param {Api} api @param {User} me @param {Storage} storage */
  constructor(api, me, storage) {
    super();
    this.api = api;
    this.me = me;
    this.profiles = new Profiles(async (user_ids) => (await api.profiles(user_ids)).profiles);
    this.profiles.put([me]);
    this.conversations = new Conversations((chat_id, anchor) => api.messages(chat_id, anchor));
    this.chats = new ChatBook(me.user_id, this.conversations);
    this.typing = new Typing();
    this.outbox = new Outbox(storage, me.user_id);
    this.drafts = new Drafts(storage, me.user_id);
    this.session = new Session(
      {
        gateway: () => api.gateway(),
        accessToken: (rejected) => api.accessToken(rejected),
        openSocket: (url, protocol) => new WebSocket(url, protocol),
        random: Math.random,
      },
      {
        onState: (state) => this.#connectionChanged(state === "ended"),
        onWelcome: (welcome) => this.#welcomed(welcome),
        onFrame: (frame) => this.#receive(frame),
        onMissed: () => void this.#catchUp(this.#newestEvent_ms),
      },
    );
    this.#passOn(this.conversations, ["messages"]);
    this.#passOn(this.chats, ["messages", "chats"]);
    this.#passOn(this.typing, ["typing"]);
  }

  start() {
    this.session.connect();
    void this.loadChats();
    this.refreshMe().catch(() => {}); // what was kept of the profile will do
  }

  /** Messages of history and those on their way, in order. @param {string} chat_id */
  messages(chat_id) {
    const { messages } = this.conversations.of(chat_id);
    const known = new Set(messages.map(({ key }) => key));
    const waiting = this.outbox.of(chat_id).map((entry) => fromEntry(entry, this.me.user_id));
    return [...messages, ...waiting.filter(({ key }) => !known.has(key))];
  }

  /** Whether what arrives now was said before this page was there. */
  get isReplaying() {
    return Boolean(this.#oldEvents);
  }

  /** What is known of the other person of a direct chat. @param {string} chat_id */
  partner(chat_id) {
    return this.profiles.get(this.chats.otherOf(chat_id));
  }

  async loadChats() {
    try {
      const { chats = [], next_cursor = "" } = await this.api.chats({ cursor: this.#nextChats });
      this.#nextChats = next_cursor;
      this.chatsPhase = "ready";
      this.#takeChats(chats);
    } catch {
      if (this.chatsPhase === "loading") this.chatsPhase = "failed";
    }
    this.#tell("chats");
  }

  /** Loads the next page of the list, if there is one. */
  async loadMoreChats() {
    if (this.#nextChats && this.chatsPhase === "ready") await this.loadChats();
  }

  /** @param {string} chat_id @param {string} body */
  send(chat_id, body) {
    this.outbox.add(chat_id, body, Date.now());
    this.typing.forget();
    this.#tell("messages", chat_id);
    this.#flush();
  }

  /** Sends again what failed. @param {Message} message */
  retry({ chat_id, client_message_id }) {
    this.outbox.retry(client_message_id);
    this.#tell("messages", chat_id);
    this.#flush();
  }

  /** Forgets what failed. @param {Message} message */
  discard({ chat_id, client_message_id }) {
    this.outbox.remove(client_message_id);
    this.#tell("messages", chat_id);
  }

  /** Sets one's reaction, or takes it back if it is set. @param {Message} message @param {string} emoji */
  toggleReaction({ chat_id, message_id, reactions }, emoji) {
    const user_id = this.me.user_id;
    const set = !reactions.some((tally) => tally.emoji === emoji && tally.user_ids.includes(user_id));
    const reaction = { chat_id, message_id, user_id, emoji, set };
    this.conversations.react(reaction);
    this.#reactions.want(reaction);
    this.#reactions.flush((frame) => this.session.send(frame));
  }

  /** Everything in the chat has been seen. @param {string} chat_id */
  markRead(chat_id) {
    const read_up_to = this.chats.unread(chat_id);
    if (read_up_to) this.#mark({ chat_id, read_up_to });
  }

  /** The person is writing in the chat. @param {string} chat_id */
  writing(chat_id) {
    this.typing.say(chat_id, (frame) => this.session.send(frame));
  }

  /** @param {{display_name: string, about: string}} profile @throws {import("./api.js").Problem} */
  async changeProfile(profile) {
    this.#takeMe(await this.api.changeProfile({ ...profile, version: this.me.version }));
  }

  /** Reads one's own profile again, which another device may have changed. */
  async refreshMe() {
    this.#takeMe(await this.api.me());
  }

  /** Ends the sign-in and takes what is this user's off this browser. */
  async signOut() {
    await this.api.signOut();
    this.outbox.clear();
    this.drafts.clear();
    this.session.end();
  }

  // ---- what the session says

  /** @param {ServerFrame} frame */
  #receive({ accepted, refused, event, gap }) {
    if (accepted) this.#accepted(accepted.client_message_id, accepted.message_id);
    if (refused?.client_message_id) this.#sendRefused(refused.client_message_id, refused);
    else if (refused) this.#frameRefused(Number(refused.frame));
    if (gap) void this.#catchUp(Number(gap.since_ms ?? 0));
    if (event) this.#happened(event);
    if (event && this.#oldEvents) this.#oldEvents--;
  }

  /** @param {WireEvent} event */
  #happened({ event_id, message, reaction, receipt, typing }) {
    if (event_id) this.#newestEvent_ms = Math.max(this.#newestEvent_ms, timeOfId(event_id));
    if (message) this.#messageCame(fromWire(message));
    if (reaction) this.#reactionCame(reaction);
    if (receipt) this.#receiptCame(receipt);
    if (typing) this.typing.show(typing.chat_id);
  }

  /** @param {Message} message */
  #messageCame(message) {
    const { chat_id, sender_id } = message;
    const mine = sender_id === this.me.user_id;
    // One's own in a replay is no answer: its gateway may have died before the others' copies were written, and only
    // sending it again, from the outbox, has them written.
    if (!mine) this.typing.hide(chat_id);
    this.#take(message);
    const delivered_up_to = this.chats.undelivered(chat_id);
    if (mine || delivered_up_to !== message.message_id) return;
    this.#mark({ chat_id, delivered_up_to });
    this.#tell("arrived", message);
  }

  /** @param {WireReaction} reaction */
  #reactionCame(reaction) {
    if (reaction.user_id === this.me.user_id) this.#reactions.confirm(reaction);
    this.conversations.react(reaction);
  }

  /** @param {WireReceipt} receipt */
  #receiptCame(receipt) {
    if (receipt.user_id === this.me.user_id) this.#receipts.confirm(receipt);
    this.chats.receive(receipt);
  }

  /** @param {string} client_message_id @param {string} message_id */
  #accepted(client_message_id, message_id) {
    const entry = this.outbox.get(client_message_id);
    if (!entry) return;
    this.outbox.remove(client_message_id);
    const at_ms = timeOfId(message_id);
    this.#take({ ...fromEntry(entry, this.me.user_id), message_id, at_ms, state: "accepted", error: "" });
    this.#flush();
  }

  /** @param {string} client_message_id @param {Refused} refused */
  #sendRefused(client_message_id, refused) {
    this.outbox.refused(client_message_id, refused, Date.now());
    this.#tell("messages", this.outbox.get(client_message_id)?.chat_id);
    this.#flush();
  }

  /** @param {number} frame */
  #frameRefused(frame) {
    const before = this.#reactions.refuse(frame);
    if (before) this.conversations.react(before);
  }

  /** @param {Welcome} welcome */
  #welcomed({ limits, replayed = 0 }) {
    this.maxTextBytes = limits?.max_text_bytes || MAX_TEXT_BYTES;
    this.#oldEvents = this.#oldEvents === null ? replayed : 0;
    this.#flush();
    this.#flushReceipts();
    this.#reactions.flush((frame) => this.session.send(frame));
    void this.profiles.fetchWanted();
    if (this.#missedSince_ms < Infinity) void this.#catchUp(this.#missedSince_ms);
    if (this.chatsPhase === "failed") void this.loadChats();
    void this.conversations.openAgain(this.openChat);
  }

  /** @param {boolean} ended */
  #connectionChanged(ended) {
    if (this.session.state !== "online") {
      this.outbox.sessionLost();
      this.#reactions.sessionLost();
    }
    this.#tell(ended ? "signed-out" : "connection");
  }

  // ---- keeping things together

  /** Reads what changed since the moment, in milliseconds since 1970. @param {number} since_ms */
  async #catchUp(since_ms) {
    const turn = ++this.#catchUps;
    this.#missedSince_ms = Math.min(this.#missedSince_ms, since_ms);
    let has = await this.#readMissed();
    for (const pause_ms of LOOK_AGAIN_AFTER_MS) {
      await new Promise((resolve) => setTimeout(resolve, pause_ms));
      if (turn !== this.#catchUps) return; // more was missed meanwhile: that turn reads it all
      has = await this.#readMissed();
    }
    if (!has) return this.session.restart(); // once it is back, this is tried again
    this.#missedSince_ms = Infinity;
    this.conversations.caughtUp();
  }

  /** @returns {Promise<boolean>} whether it could be read */
  async #readMissed() {
    const reading = [this.conversations.catchUp(this.openChat), this.#readChangedSince(this.#missedSince_ms)];
    return (await Promise.allSettled(reading)).every(({ status }) => status === "fulfilled");
  }

  /** @param {number} since_ms */
  async #readChangedSince(since_ms) {
    let cursor = "";
    do {
      const page = await this.api.chats({ changed_since_ms: Math.max(since_ms - CATCH_UP_MARGIN_MS, 0), cursor });
      this.#takeChats(page.chats ?? []);
      cursor = page.next_cursor ?? "";
    } while (cursor);
  }

  /** @param {readonly import("./types.js").WireChat[]} chats */
  #takeChats(chats) {
    this.chats.take(chats);
    for (const { chat_id } of chats) {
      const delivered_up_to = this.chats.undelivered(chat_id);
      if (delivered_up_to) this.#mark({ chat_id, delivered_up_to });
    }
  }

  /** @param {Message} message accepted, one's own or another's */
  #take(message) {
    this.chats.add(message);
    this.conversations.add(message);
  }

  /** @param {User} user */
  #takeMe(user) {
    this.me = user;
    this.profiles.put([user]);
    this.#tell("me");
  }

  /** @param {WireReceipt} receipt one's own */
  #mark(receipt) {
    this.#receipts.mark(receipt);
    this.chats.receive({ ...receipt, user_id: this.me.user_id });
    this.#receiptTimer ??= setTimeout(() => this.#flushReceipts(), RECEIPT_PAUSE_MS);
  }

  #flushReceipts() {
    clearTimeout(this.#receiptTimer);
    this.#receiptTimer = undefined;
    for (const frame of this.#receipts.frames()) this.session.send(frame);
  }

  /** Sends what may go now, and comes back for what has to wait. */
  #flush() {
    clearTimeout(this.#flushTimer);
    const now_ms = Date.now();
    const { due, next_ms } = this.outbox.due(now_ms);
    for (const { client_message_id, chat_id, body } of due) {
      if (!this.session.send({ send: { client_message_id, chat_id, text: { body } } })) return;
      this.outbox.sent(client_message_id, now_ms);
      setTimeout(() => this.#checkAnswered(client_message_id, now_ms), ANSWER_DEADLINE_MS);
    }
    if (next_ms < Infinity) this.#flushTimer = setTimeout(() => this.#flush(), next_ms - now_ms);
  }

  /** @param {string} client_message_id @param {number} sent_ms */
  #checkAnswered(client_message_id, sent_ms) {
    if (this.outbox.get(client_message_id)?.sent_ms === sent_ms) this.session.restart();
  }

  /** @param {EventTarget} source of "change" events @param {string[]} types under which they go on */
  #passOn(source, types) {
    source.addEventListener("change", (event) => {
      for (const type of types) this.#tell(type, /** @type {CustomEvent} */ (event).detail);
    });
  }

  /** @param {string} type @param {unknown} [detail] */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
