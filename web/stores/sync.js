// Keeps the other stores up to date by a session: hands on the frames of the server, and reads what was missed.

import { Api } from "../api.js";
import { timeOfId } from "../ids.js";
import { fromWire } from "../messages.js";
import { Session } from "../session.js";
import { Chats } from "./chats.js";
import { Kept } from "./kept.js";
import { Sending } from "./sending.js";
import { Store } from "./store.js";

/** @import {Message} from "../types.js" */
/** @import {Event as WireEvent, ServerFrame, Welcome} from "../wire.js" */

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

export class Sync extends Store {
  /** Called with each new message of another user. @param {Message} _message */
  onArrived = (_message) => {};
  /** Called with a chat's newest message if no device of the user has received it. @param {Message} _message */
  onMissed = (_message) => {};
  #chats;
  /** The time of the newest event by the servers' clocks, in milliseconds since 1970; 0 if there is none. */
  #newestEvent_ms = 0;
  /** Events of the first session's replay that are still to arrive, all older than this page; null before it begins. */
  #replayLeft = /** @type {number | null} */ (null);
  /** The time of the first missed event, in milliseconds since 1970; Infinity if none was missed. */
  #missedSince_ms = Infinity;
  #catchUps = 0;

  /** @param {Api} api @param {Chats} chats @param {Kept} kept */
  constructor(api, chats, kept) {
    super();
    this.#chats = chats;
    this.session = new Session(
      {
        gateway: (unreachable) => api.gateway(unreachable),
        accessToken: (rejected) => api.accessToken(rejected),
        openSocket: (url, protocol) => new WebSocket(url, protocol),
        random: Math.random,
      },
      {
        onState: () => this.#stateChanged(),
        onSilence: () => this.changed(),
        onWelcome: (welcome) => this.#welcomed(welcome),
        onFrame: (frame) => this.#receive(frame),
        onMissed: () => void this.#catchUp(this.#newest_ms),
      },
    );
    this.sending = new Sending(chats, kept, {
      send: (frame, answered) => this.session.send(frame, answered),
    });
  }

  start() {
    this.session.connect();
    void this.#chats.load();
    this.#chats.refreshMe().catch(() => {}); // on failure the stored profile stays in use
  }

  get isOnline() {
    return this.session.state === "online";
  }

  /** Whether the session is online, and no answer of the server is overdue. */
  get isReachable() {
    return this.isOnline && !this.session.isSilent;
  }

  /** Whether the sign-in has ended. */
  get hasEnded() {
    return this.session.state === "ended";
  }

  /** Whether arriving events are older than this page. */
  get isReplaying() {
    return Boolean(this.#replayLeft);
  }

  get #newest_ms() {
    return Math.max(this.#newestEvent_ms, this.#chats.newestAtStart_ms);
  }

  #stateChanged() {
    if (!this.isOnline) this.sending.offline();
    this.changed();
  }

  /** @param {Welcome} welcome */
  #welcomed({ limits, replayed = 0 }) {
    this.#replayLeft = this.#replayLeft === null ? replayed : 0;
    this.sending.online(limits?.max_text_bytes ?? 0);
    void this.#chats.profiles.fetchQueued();
    if (this.#missedSince_ms < Infinity) void this.#catchUp(this.#missedSince_ms);
    if (this.#chats.phase === "failed") void this.#chats.load();
    void this.#chats.openAgain();
  }

  /** @param {ServerFrame} frame */
  #receive({ event, gap }) {
    if (gap) void this.#catchUp(Number(gap.since_ms ?? 0) || this.#newest_ms);
    if (event) this.#onEvent(event);
    if (event && this.#replayLeft) this.#replayLeft--;
  }

  /** @param {WireEvent} event */
  #onEvent({ event_id = "0", message, change, typing }) {
    if (event_id !== "0") this.#newestEvent_ms = Math.max(this.#newestEvent_ms, timeOfId(event_id));
    if (message) this.#onMessage(fromWire(message));
    if (change) this.#chats.change({ event_id, change });
    if (typing) this.#chats.typing.show(typing.chat_id);
  }

  /** @param {Message} message */
  #onMessage(message) {
    const { chat_id, sender_id, message_id } = message;
    const mine = sender_id === this.#chats.me.user_id;
    // An own message in a replay does not acknowledge the send: its gateway may have died before the copies of the
    // other members were written, and only sending it again from the outbox writes them.
    if (!mine) this.#chats.typing.hide(chat_id);
    this.#chats.add(message);
    if (mine || this.#chats.undelivered(chat_id) !== message_id) return;
    this.#chats.onUndelivered(chat_id, message_id);
    this.onArrived(message);
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
    const listed = this.#chats.loadChangedSince(since_ms).then((fresh) => fresh.forEach(this.onMissed));
    const reading = [this.#chats.conversations.catchUp(since_ms), listed];
    return (await Promise.allSettled(reading)).every(({ status }) => status === "fulfilled");
  }
}
