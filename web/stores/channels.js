// The channels that the session follows. The server sends all events of the open one; of the others only that there are
// new ones: then the page reads their newest message and counts.

import { isMember } from "../groups.js";
import { compareIds, laterId } from "../ids.js";
import { CatchUp } from "./catch-up.js";

/** @import {Chats} from "./chats.js" */
/** @import {Chat, Group, Message} from "../types.js" */
/** @import {Send} from "../presence.js" */
/** @import {ServerFrame} from "../wire.js" */

/** The channels that a session may follow: the server's limit. */
const MAX_FOLLOWED = 200;
/** After a refusal that may be temporary, the channels are sent again after this time at least, in milliseconds. */
const RETRY_MS = 5_000;
/** From Accepted to the reading of what the open channel lacks: the archive lags behind sessions. */
const OPENED_AFTER_MS = 1_000;
/** A channel is read this time after news of it at least, and from one reading to the next, in milliseconds. */
const HEAD_AFTER_MS = 500;
const HEAD_PAUSE_MS = 5_000;
/**
 * Up to so much later for each member and for all, in milliseconds: of 100,000 members, the 5,000 that are online read a
 * channel with steady news some 170 times a second together.
 */
const HEAD_SPREAD_MS = { each: 0.5, all: 2_000 };
/** The event of the news may be one that a reading does not show, such as a reaction: it is read so often at most. */
const MAX_HEAD_READS = 2;

/** @typedef {{chat_ids: string[], open_chat_ids: string[]}} Followed */

export class Channels {
  /**
   * Called with the newest message of another user in a channel that is not open, perhaps after a mention before it.
   * @param {Message} _message
   */
  onNews = (_message) => {};
  #chats;
  /** Null while there is no session. @type {Send | null} */
  #send = null;
  /** The chat that was open when quotes were last forgotten. */
  #open = "";
  /** What this session follows, as JSON; empty before its first Follow. */
  #followed = "";
  /** The channels that the server refused to follow, as they were then. @type {Map<string, Group | null>} */
  #refused = new Map();
  /** Whether the further pages of the list, which may have channels too, were requested. */
  #areAllListed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** Of the open channel. @type {CatchUp | null} */
  #catchUp = null;
  /** The channels that are being read, with the newest event that is known. @type {Map<string, string>} */
  #news = new Map();

  /** @param {Chats} chats */
  constructor(chats) {
    this.#chats = chats;
    chats.subscribe(() => this.#followLater());
  }

  /** A session has begun. @param {Send} send */
  online(send) {
    this.#send = send;
    this.#followed = "";
    this.#refused.clear();
    this.#followLater();
  }

  /** The session has ended. */
  offline() {
    this.#send = null;
    this.#stopCatchUp();
  }

  /** A channel that is not open has a new event. @param {string} chat_id @param {string} [newest_id] its id */
  async news(chat_id, newest_id = "0") {
    const isReading = this.#news.has(chat_id);
    this.#news.set(chat_id, laterId(this.#news.get(chat_id) ?? "0", newest_id));
    if (isReading) return;
    await pause(HEAD_AFTER_MS + this.#spread_ms(chat_id));
    let [newest, reads] = ["", 0];
    do {
      const known = this.#news.get(chat_id) ?? "0";
      reads = known === newest ? reads + 1 : 1;
      newest = known;
      await this.#readHead(chat_id);
      await pause(HEAD_PAUSE_MS + this.#spread_ms(chat_id));
    } while (newest !== this.#news.get(chat_id) || (this.#lacks(chat_id, newest) && reads < MAX_HEAD_READS));
    this.#news.delete(chat_id);
  }

  /** A random time, so that the members of a channel do not read it at once. @param {string} chat_id */
  #spread_ms(chat_id) {
    const members = this.#chats.of(chat_id).group?.member_count ?? 0;
    return Math.random() * (HEAD_SPREAD_MS.all + members * HEAD_SPREAD_MS.each);
  }

  /** Whether the list has no message as new as an event. @param {string} chat_id @param {string} event_id */
  #lacks(chat_id, event_id) {
    return compareIds(this.#chats.of(chat_id).newest?.message_id ?? "0", event_id) < 0;
  }

  /** @param {string} chat_id */
  async #readHead(chat_id) {
    const news = await this.#chats.readHead(chat_id).catch(() => []); // the server is away
    news.forEach((message) => this.onNews(message));
  }

  /** Whether a session can follow a chat. @param {Chat} chat */
  #isFollowable({ chat_id, group }) {
    return group?.settings.is_channel === true && isMember(group.own) && this.#refused.get(chat_id) !== group;
  }

  /** The newest channels, and the open one. @returns {Followed} */
  #wanted() {
    const { all, openChat } = this.#chats;
    const idsOf = (/** @type {readonly Chat[]} */ chats) =>
      chats.filter((chat) => this.#isFollowable(chat)).map(({ chat_id }) => chat_id);
    const open_chat_ids = idsOf([this.#chats.of(openChat)]);
    const chat_ids = [...new Set([...open_chat_ids, ...idsOf(all)])].slice(0, MAX_FOLLOWED).sort();
    return { chat_ids, open_chat_ids };
  }

  #followLater(after_ms = 0) {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#follow();
    }, after_ms);
  }

  #follow() {
    this.#forgetQuotes();
    const follow = this.#wanted();
    const followed = JSON.stringify(follow);
    const isNothing = !this.#followed && !follow.chat_ids.length;
    if (!this.#send || isNothing || followed === this.#followed) return;
    const answered = (/** @type {ServerFrame} */ answer) => this.#followed === followed && this.#answered(follow, answer);
    if (!this.#send({ follow }, answered)) return;
    this.#followed = followed;
    this.#stopCatchUp();
    if (this.#areAllListed) return;
    this.#areAllListed = true;
    void this.#chats.loadSearched();
  }

  /** Forgets the quotes of closed channels without messages in memory: opening these reads no missed changes. */
  #forgetQuotes() {
    const { openChat, conversations, quotes } = this.#chats;
    if (openChat === this.#open) return;
    this.#open = openChat;
    quotes.forget((chat_id) => !conversations.isLive(chat_id) && !conversations.isHeld(chat_id));
  }

  /** @param {Followed} follow @param {ServerFrame} answer */
  #answered({ chat_ids, open_chat_ids: [open] }, { accepted, refused }) {
    if (accepted && open) this.#readOpened(open, Number(accepted.at_ms ?? 0));
    const [, at] = /\.chat_ids\[(\d+)\]/.exec(refused?.field ?? "") ?? [];
    const chat_id = chat_ids[Number(at ?? -1)];
    if (chat_id) {
      this.#refused.set(chat_id, this.#chats.of(chat_id).group);
      void this.news(chat_id); // it is sent again with what this reads
      this.#followLater();
    } else if (refused?.retryable) {
      this.#followed = "";
      this.#followLater(Math.max(refused.retry_after_ms ?? 0, RETRY_MS));
    }
  }

  /** Reads what a channel lacks up to a time of the server. @param {string} chat_id @param {number} at_ms */
  #readOpened(chat_id, at_ms) {
    const catchUp = new CatchUp(() => this.#chats.readOpened(chat_id));
    this.#catchUp = catchUp;
    setTimeout(() => this.#catchUp === catchUp && catchUp.missed(at_ms), OPENED_AFTER_MS);
  }

  #stopCatchUp() {
    this.#catchUp?.stop();
    this.#catchUp = null;
  }
}

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
