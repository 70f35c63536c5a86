// Keeps the other stores up to date by a session: hands on the frames of the server, and reads what was missed.

import { Api } from "../api.js";
import { timeOfId } from "../ids.js";
import { fromWire } from "../messages.js";
import { Session } from "../session.js";
import { CatchUp } from "./catch-up.js";
import { Chats } from "./chats.js";
import { Kept } from "./kept.js";
import { Sending } from "./sending.js";
import { Store } from "./store.js";

/** @import {Channels} from "./channels.js" */
/** @import {Message} from "../types.js" */
/** @import {Event as WireEvent, Gap, GroupMarks, ServerFrame, Welcome} from "../wire.js" */

/**
 * The first event so long after the last reading lets the list be read again, in milliseconds. Else a page that is online
 * for days would read everything of these days after the next gap, and load chats with many events anew.
 */
const REREAD_MS = 15 * 60_000;

export class Sync extends Store {
  /** Called with each new message of another user. @param {Message} _message */
  onArrived = (_message) => {};
  /**
   * Called with a chat's newest message if no device of the user has received it, perhaps after a mention before it.
   * @param {Message} _message
   */
  onMissed = (_message) => {};
  /** Called when the user's connection with another one, or a block, has changed. @param {string} _user_id */
  onPeopleChanged = (_user_id) => {};
  /** Called with marks of members of a group; without after a gap, in which some may be lost. @param {GroupMarks} [_marks] */
  onGroupMarks = (_marks) => {};
  /** Changes when the user's connections or blocks may have changed. */
  people = new Store();
  #chats;
  /** Once the user has a channel, and its module is loaded. @type {Channels | null} */
  #channels = null;
  #isLoadingChannels = false;
  #catchUp;
  /** The server's time when this page began, in milliseconds since 1970. Older messages are not passed on. */
  #began_ms = Infinity;
  /** The latest time up to which missed events were to be read, likewise; 0 if it is not known. */
  #read_ms = 0;
  /** Events of the first session's replay that are still to arrive, all older than this page; null before it begins. */
  #replayLeft = /** @type {number | null} */ (null);

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
      },
    );
    chats.onChannel = () => void this.#loadChannels();
    this.#catchUp = new CatchUp(() => this.#readMissed());
    chats.onUncounted = (event_id) => this.#catchUp.needed(timeOfId(event_id) + 1);
    this.sending = new Sending(chats, kept, {
      send: (frame, answered) => this.session.send(frame, answered),
    }, api);
  }

  start() {
    this.session.connect();
    void this.#chats.load();
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

  /** @type {import("../presence.js").Send} */
  #send = (frame, answered) => this.session.send(frame, answered);

  /** Follows the channels. If the module can't be loaded, the next change of a channel loads it. */
  async #loadChannels() {
    if (this.#channels || this.#isLoadingChannels) return;
    this.#isLoadingChannels = true;
    try {
      const { Channels } = await import("./channels.js");
      this.#channels = new Channels(this.#chats);
      this.#channels.onNews = (message) => this.onMissed(message);
      if (this.isOnline) this.#channels.online(this.#send);
    } catch {
      // The server is away.
    }
    this.#isLoadingChannels = false;
  }

  #stateChanged() {
    if (!this.isOnline) for (const each of [this.sending, this.#chats.presence, this.#channels]) each?.offline();
    if (this.hasEnded) for (const each of [this.sending, this.#catchUp]) each.stop();
    this.changed();
  }

  /** @param {Welcome} welcome */
  #welcomed({ limits, replayed = 0, at_ms = "0" }) {
    if (at_ms !== "0") this.#chats.clock.set(Number(at_ms));
    if (this.#replayLeft === null) this.#missed(Number(at_ms)); // pages that were read before the session are older
    else this.#chats.profiles.expire(); // signals are not replayed
    this.#chats.profileChanged(this.#chats.me.user_id);
    this.#replayLeft = this.#replayLeft === null ? replayed : 0;
    this.sending.online(limits);
    for (const each of [this.#chats.presence, this.#channels]) each?.online(this.#send);
    void this.#chats.profiles.fetchQueued();
    this.#catchUp.now();
    if (this.#chats.hasFailed) void this.#chats.load();
    void this.#chats.openAgain();
    void this.#chats.readGroups(this.sending.unsent().keys());
    this.people.changed();
  }

  /** @param {ServerFrame} frame */
  #receive({ event, gap, channel_head }) {
    if (channel_head) void this.#channels?.news(channel_head.chat_id ?? "", channel_head.newest_id);
    if (gap) this.#onGap(gap);
    if (event) this.#onEvent(event);
    if (event?.position && this.#replayLeft) this.#replayLeft--; // signals, such as typing, have no position
  }

  /** @param {Gap} gap in which signals may have been lost, too */
  #onGap({ at_ms = "0" }) {
    this.#missed(Number(at_ms));
    this.#chats.presence.watchAgain();
    this.onGroupMarks();
    this.#chats.profiles.expire();
    this.#chats.profileChanged(this.#chats.me.user_id);
  }

  /** @param {WireEvent} event */
  #onEvent({ event_id = "0", message, change, typing, presence, profile_changed, people_changed, group_marks }) {
    if (message) this.#onMessage(fromWire(message));
    if (change) this.#chats.change({ event_id, change });
    const chat_id = (message ?? change)?.chat_id ?? "";
    if (!this.#chats.conversations.isLive(chat_id)) void this.#channels?.news(chat_id, event_id);
    if (typing) this.#chats.typing.show(typing.chat_id, typing.user_id ?? "");
    if (group_marks) this.onGroupMarks(group_marks);
    if (presence) this.#chats.presence.show(presence);
    if (profile_changed) this.#chats.profileChanged(profile_changed.user_id ?? "");
    if (people_changed) this.#peopleChanged(people_changed.user_id ?? "");
    if (this.#read_ms && timeOfId(event_id) > this.#read_ms + REREAD_MS) this.#missed(timeOfId(event_id));
  }

  /** @param {string} user_id */
  #peopleChanged(user_id) {
    this.people.changed();
    this.onPeopleChanged(user_id);
  }

  /** @param {Message} message */
  #onMessage(message) {
    const { chat_id, sender_id, message_id } = message;
    const mine = sender_id === this.#chats.me.user_id;
    // An own message in a replay does not acknowledge the send: its gateway may have died before the copies of the
    // other members were written, and only sending it again from the outbox writes them.
    if (!mine) this.#chats.typing.hide(chat_id, sender_id);
    this.#chats.add(message);
    if (mine || this.#chats.undelivered(chat_id) !== message_id) return;
    this.#chats.onUndelivered(chat_id, message_id);
    this.onArrived(message);
  }

  /** @param {number} at_ms of a Gap, of the first Welcome, or of an event long after these */
  #missed(at_ms) {
    this.#began_ms = Math.min(this.#began_ms, at_ms);
    this.#read_ms = Math.max(this.#read_ms, at_ms);
    this.#catchUp.missed(at_ms);
  }

  /** @returns {Promise<string>} an event id: nothing up to it is missing; 0 if that is not known */
  async #readMissed() {
    const since_ms = this.#began_ms;
    const isWhole = await this.#chats.readMissed(since_ms, (message) => message.at_ms > since_ms && this.onMissed(message));
    return isWhole ? this.#chats.listed_up_to : "0";
  }
}
