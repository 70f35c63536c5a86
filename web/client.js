// The state and the actions of a signed-in page, without its views: chats, conversations and the outbox, kept up to
// date by a session. Components read this state, call its methods, and listen for its events.

import { Api } from "./api.js";
import { ChatBook } from "./chat-book.js";
import { Conversations } from "./conversations.js";
import { Drafts } from "./drafts.js";
import { fromEntry, fromWire, timeOfId } from "./messages.js";
import { Outbox } from "./outbox.js";
import { Profiles } from "./profiles.js";
import { Session } from "./session.js";
import { Reactions, Receipts } from "./pending.js";
import { Typing } from "./typing.js";

/** @import {Message, Refused, ServerFrame, User, Welcome, WireEvent, WireReaction, WireReceipt} from "./types.js" */
/** @import {WireChat} from "./types.js" */

/** Milliseconds after which a send without an acknowledgement makes the session reconnect. */
const ACKNOWLEDGEMENT_DEADLINE_MS = 10_000;
/** Receipts within this many milliseconds are sent together. */
const RECEIPT_PAUSE_MS = 150;
/**
 * Catching up reads from this long before the first missed event: a message that is accepted on a retry keeps the id of
 * its first sending, and gateways' clocks differ.
 */
const CATCH_UP_OVERLAP_MS = 300_000;
/**
 * The archive lags behind the sessions: by less than the first of these pauses, and by more after an engine was down.
 * Missed events are read at once, and again after each pause.
 */
const CATCH_UP_PAUSES_MS = [3_000, 10_000, 30_000, 120_000];
/** The limit until Welcome states another. */
const MAX_TEXT_BYTES = 16 * 1024;

/**
 * Events: "chats", "connection", "me", "signed-out"; "messages" and "typing" with a chat_id as `detail`; "arrived" with
 * a new Message of another user as `detail`.
 */
export class Client extends EventTarget {
  /** @type {"loading" | "ready" | "failed"} of the list of chats */
  chatsPhase = "loading";
  /** The chat that is open on the page; empty if none is. */
  openChat = "";
  maxTextBytes = MAX_TEXT_BYTES;
  #nextChats = "";
  #receipts = new Receipts();
  #reactions = new Reactions();
  /** The time of the newest event by the servers' clocks, in milliseconds since 1970; 0 if the user has no chat yet. */
  #newestEvent_ms = 0;
  /** Events of the first session's replay that are still to arrive, all older than this page; null before it begins. */
  #replayLeft = /** @type {number | null} */ (null);
  /** The time of the first missed event, in milliseconds since 1970; Infinity if none was missed. */
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
    this.conversations = new Conversations((chat_id, query) => api.messages(chat_id, query));
    this.chats = new ChatBook(me.user_id, this.conversations);
    this.typing = new Typing();
    this.outbox = new Outbox(storage, me.user_id);
    this.drafts = new Drafts(storage, me.user_id);
    this.session = new Session(
      {
        gateway: (unreachable) => api.gateway(unreachable),
        accessToken: (rejected) => api.accessToken(rejected),
        openSocket: (url, protocol) => new WebSocket(url, protocol),
        random: Math.random,
      },
      {
        onState: (state) => this.#onConnectionChanged(state === "ended"),
        onWelcome: (welcome) => this.#onWelcome(welcome),
        onFrame: (frame) => this.#receive(frame),
        onMissed: () => void this.#catchUp(this.#newestEvent_ms),
      },
    );
    this.#forward(this.conversations, ["messages"]);
    this.#forward(this.chats, ["messages", "chats"]);
    this.#forward(this.typing, ["typing"]);
  }

  start() {
    this.session.connect();
    void this.loadChats();
    this.refreshMe().catch(() => {}); // on failure the stored profile stays in use
  }

  /** Messages of history, then messages in the outbox, in order. @param {string} chat_id */
  messages(chat_id) {
    const { messages } = this.conversations.of(chat_id);
    const known = new Set(messages.map(({ key }) => key));
    const waiting = this.outbox.of(chat_id).map((entry) => fromEntry(entry, this.me.user_id));
    return [...messages, ...waiting.filter(({ key }) => !known.has(key))];
  }

  /** Whether arriving events are older than this page. */
  get isReplaying() {
    return Boolean(this.#replayLeft);
  }

  /** The profile of the other member of a direct chat, if it is loaded. @param {string} chat_id */
  partner(chat_id) {
    return this.profiles.get(this.chats.otherOf(chat_id));
  }

  async loadChats() {
    try {
      const { chats = [], next_cursor = "" } = await this.api.chats({ cursor: this.#nextChats });
      this.#nextChats = next_cursor;
      if (this.chatsPhase === "loading") this.#noteNewest(chats);
      this.chatsPhase = "ready";
      this.#addChats(chats);
    } catch {
      if (this.chatsPhase === "loading") this.chatsPhase = "failed";
    }
    this.#emit("chats");
  }

  /** Loads the next page of the list, if there is one. */
  async loadMoreChats() {
    if (this.#nextChats && this.chatsPhase === "ready") await this.loadChats();
  }

  /** @param {string} chat_id @param {string} body */
  send(chat_id, body) {
    this.outbox.add(chat_id, body, Date.now());
    this.typing.reset();
    this.#emit("messages", chat_id);
    this.#flush();
  }

  /** Sends a failed message again. @param {Message} message */
  retry({ chat_id, client_message_id }) {
    this.outbox.retry(client_message_id);
    this.#emit("messages", chat_id);
    this.#flush();
  }

  /** Deletes a failed message. @param {Message} message */
  discard({ chat_id, client_message_id }) {
    this.outbox.remove(client_message_id);
    this.#emit("messages", chat_id);
  }

  /** Sets the user's reaction, or removes it if it is set. @param {Message} message @param {string} emoji */
  toggleReaction({ chat_id, message_id, reactions }, emoji) {
    const user_id = this.me.user_id;
    const set = !reactions.some((tally) => tally.emoji === emoji && tally.user_ids.includes(user_id));
    const reaction = { chat_id, message_id, user_id, emoji, set };
    this.conversations.react(reaction);
    this.#reactions.add(reaction);
    this.#reactions.flush((frame) => this.session.send(frame));
  }

  /** Everything in the chat has been seen. @param {string} chat_id */
  markRead(chat_id) {
    const read_up_to = this.chats.unread(chat_id);
    if (read_up_to) this.#mark({ chat_id, read_up_to });
  }

  /** The person is writing in the chat. @param {string} chat_id */
  writing(chat_id) {
    this.typing.announce(chat_id, (frame) => this.session.send(frame));
  }

  /** @param {{display_name: string, about: string}} profile @throws {import("./api.js").Problem} */
  async changeProfile(profile) {
    this.#setMe(await this.api.changeProfile({ ...profile, version: this.me.version }));
  }

  /** Reads the user's own profile again, which another device may have changed. */
  async refreshMe() {
    this.#setMe(await this.api.me());
  }

  /** Ends the sign-in and deletes this user's data from this browser. */
  async signOut() {
    await this.api.signOut();
    this.outbox.clear();
    this.drafts.clear();
    this.session.end();
  }

  // ---- frames of the session

  /** @param {ServerFrame} frame */
  #receive({ accepted, refused, event, gap }) {
    if (accepted) this.#onAccepted(accepted.client_message_id, accepted.message_id);
    if (refused?.client_message_id) this.#onSendRefused(refused.client_message_id, refused);
    else if (refused) this.#onFrameRefused(Number(refused.frame));
    if (gap) void this.#catchUp(Number(gap.since_ms ?? 0) || this.#newestEvent_ms);
    if (event) this.#onEvent(event);
    if (event && this.#replayLeft) this.#replayLeft--;
  }

  /** @param {WireEvent} event */
  #onEvent({ event_id, message, reaction, receipt, typing }) {
    if (event_id) this.#noteEvent(timeOfId(event_id));
    if (message) this.#onMessage(fromWire(message));
    if (reaction) this.#onReaction(reaction);
    if (receipt) this.#onReceipt(receipt);
    if (typing) this.typing.show(typing.chat_id);
  }

  /** @param {Message} message */
  #onMessage(message) {
    const { chat_id, sender_id } = message;
    const mine = sender_id === this.me.user_id;
    // An own message in a replay does not acknowledge the send: its gateway may have died before the copies of the
    // other members were written, and only sending it again from the outbox writes them.
    if (!mine) this.typing.hide(chat_id);
    this.#addMessage(message);
    const delivered_up_to = this.chats.undelivered(chat_id);
    if (mine || delivered_up_to !== message.message_id) return;
    this.#mark({ chat_id, delivered_up_to });
    this.#emit("arrived", message);
  }

  /** @param {WireReaction} reaction */
  #onReaction(reaction) {
    if (reaction.user_id === this.me.user_id) this.#reactions.confirm(reaction);
    this.conversations.react(reaction);
  }

  /** @param {WireReceipt} receipt */
  #onReceipt(receipt) {
    if (receipt.user_id === this.me.user_id) this.#receipts.confirm(receipt);
    this.chats.receive(receipt);
  }

  /** @param {string} client_message_id @param {string} message_id */
  #onAccepted(client_message_id, message_id) {
    const entry = this.outbox.get(client_message_id);
    if (!entry) return;
    this.outbox.remove(client_message_id);
    const at_ms = timeOfId(message_id);
    this.#addMessage({ ...fromEntry(entry, this.me.user_id), message_id, at_ms, state: "accepted", error: "" });
    this.#flush();
  }

  /** @param {string} client_message_id @param {Refused} refused */
  #onSendRefused(client_message_id, refused) {
    this.outbox.refused(client_message_id, refused, Date.now());
    if (refused.code === "recipient_deleted" && this.openChat)
      this.profiles.refresh(this.chats.otherOf(this.openChat));
    this.#emit("messages", this.outbox.get(client_message_id)?.chat_id);
    this.#flush();
  }

  /** @param {number} frame */
  #onFrameRefused(frame) {
    const before = this.#reactions.revert(frame);
    if (before) this.conversations.react(before);
  }

  /** @param {Welcome} welcome */
  #onWelcome({ limits, replayed = 0 }) {
    this.maxTextBytes = limits?.max_text_bytes || MAX_TEXT_BYTES;
    this.#replayLeft = this.#replayLeft === null ? replayed : 0;
    this.#flush();
    this.#flushReceipts();
    this.#reactions.flush((frame) => this.session.send(frame));
    void this.profiles.fetchQueued();
    if (this.#missedSince_ms < Infinity) void this.#catchUp(this.#missedSince_ms);
    if (this.chatsPhase === "failed") void this.loadChats();
    void this.conversations.openAgain(this.openChat);
  }

  /** @param {boolean} ended */
  #onConnectionChanged(ended) {
    if (this.session.state !== "online") {
      this.outbox.sessionLost();
      this.#reactions.sessionLost();
    }
    this.#emit(ended ? "signed-out" : "connection");
  }

  // ---- catching up and sending

  /** Before the first event, the newest one is that of the list of chats. @param {readonly WireChat[]} chats */
  #noteNewest(chats) {
    for (const { changed_at_ms = "0" } of chats) this.#noteEvent(Number(changed_at_ms));
  }

  /** @param {number} at_ms */
  #noteEvent(at_ms) {
    this.#newestEvent_ms = Math.max(this.#newestEvent_ms, at_ms);
  }

  /**
   * Reads the changes since the last moment before missed events, in milliseconds since 1970. The moment is one of
   * events: the user's own messages are accepted while events are missing.
   * @param {number} since_ms
   */
  async #catchUp(since_ms) {
    const turn = ++this.#catchUps;
    this.#missedSince_ms = Math.min(this.#missedSince_ms, since_ms);
    let complete = await this.#readMissed();
    for (const pause_ms of CATCH_UP_PAUSES_MS) {
      await new Promise((resolve) => setTimeout(resolve, pause_ms));
      if (turn !== this.#catchUps) return; // more was missed meanwhile: the newer call reads all of it
      complete = await this.#readMissed();
    }
    if (!complete) return this.session.restart(); // the next welcome tries again
    this.#missedSince_ms = Infinity;
  }

  /** @returns {Promise<boolean>} whether all reads succeeded */
  async #readMissed() {
    const since_ms = Math.max(this.#missedSince_ms - CATCH_UP_OVERLAP_MS, 0);
    const reading = [this.conversations.catchUp(this.openChat, since_ms), this.#readChangedSince(since_ms)];
    return (await Promise.allSettled(reading)).every(({ status }) => status === "fulfilled");
  }

  /** @param {number} since_ms */
  async #readChangedSince(since_ms) {
    let cursor = "";
    do {
      const page = await this.api.chats({ changed_since_ms: since_ms, cursor });
      this.#addChats(page.chats ?? []);
      cursor = page.next_cursor ?? "";
    } while (cursor);
  }

  /** @param {readonly WireChat[]} chats */
  #addChats(chats) {
    this.chats.merge(chats);
    for (const { chat_id } of chats) {
      const delivered_up_to = this.chats.undelivered(chat_id);
      if (delivered_up_to) this.#mark({ chat_id, delivered_up_to });
    }
  }

  /** @param {Message} message accepted, of this user or another */
  #addMessage(message) {
    this.chats.add(message);
    this.conversations.add(message);
  }

  /** @param {User} user */
  #setMe(user) {
    this.me = user;
    this.profiles.put([user]);
    this.#emit("me");
  }

  /** @param {WireReceipt} receipt of this user */
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

  /** Sends the due messages of the outbox, and sets a timer for delayed ones. */
  #flush() {
    clearTimeout(this.#flushTimer);
    const now_ms = Date.now();
    const { due, next_ms } = this.outbox.due(now_ms);
    for (const { client_message_id, chat_id, body } of due) {
      const first_sent_ms_ago = this.outbox.firstSentMsAgo(client_message_id, now_ms);
      if (!this.session.send({ send: { client_message_id, chat_id, text: { body }, first_sent_ms_ago } })) return;
      this.outbox.sent(client_message_id, now_ms);
      setTimeout(() => this.#checkAcknowledged(client_message_id, now_ms), ACKNOWLEDGEMENT_DEADLINE_MS);
    }
    if (next_ms < Infinity) this.#flushTimer = setTimeout(() => this.#flush(), next_ms - now_ms);
  }

  /** @param {string} client_message_id @param {number} sent_ms */
  #checkAcknowledged(client_message_id, sent_ms) {
    if (this.outbox.get(client_message_id)?.sent_ms === sent_ms) this.session.restart();
  }

  /** @param {EventTarget} source of "change" events @param {string[]} types under which they are dispatched again */
  #forward(source, types) {
    source.addEventListener("change", (event) => {
      for (const type of types) this.#emit(type, /** @type {CustomEvent} */ (event).detail);
    });
  }

  /** @param {string} type @param {unknown} [detail] */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
