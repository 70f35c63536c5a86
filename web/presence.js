// Which users are online, and when the others were. The server reports the users whom this session watches: those that
// the parts of the page show.

import { Store } from "./stores/store.js";

/** @import {ClientFrame, Presence as WirePresence, ServerFrame} from "./wire.js" */

/** The users that a session may watch: the server's limit. */
export const MAX_WATCHED = 200;
/** The users are sent this time after the screen has changed, in milliseconds: a person who scrolls changes it often. */
const PAUSE_MS = 500;
/** After a refusal that may be temporary, they are sent again after this time at least, in milliseconds. */
const RETRY_MS = 5_000;

/** @typedef {(frame: ClientFrame, answered: (answer: ServerFrame) => void) => boolean} Send */
/**
 * @typedef {object} Seen
 * @property {boolean} isOnline
 * @property {number} lastSeen_ms when their last session ended, in milliseconds since 1970; 0 while online, and if it is
 * not known
 */

export class Presence extends Store {
  #me;
  /** The users that each part of the page shows, such as the list of chats. @type {Map<string, readonly string[]>} */
  #parts = new Map();
  /** The users whom the session watches. @type {ReadonlySet<string>} */
  #watched = new Set();
  /** @type {Map<string, Seen>} of watched users only */
  #seen = new Map();
  /** Null while there is no session. @type {Send | null} */
  #send = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {string} me the user of this page, who is not watched */
  constructor(me) {
    super();
    this.#me = me;
  }

  /** Undefined if it is not known. @param {string} user_id */
  of(user_id) {
    return this.#seen.get(user_id);
  }

  /** @param {string} user_id */
  isOnline(user_id) {
    return this.#seen.get(user_id)?.isOnline === true;
  }

  /**
   * The users that a part of the page shows now. If all parts show too many, the first ones of each part count, and those
   * of the part that appeared last before all others.
   * @param {string} part
   * @param {readonly string[]} user_ids
   */
  watch(part, user_ids) {
    this.#parts.set(part, user_ids);
    if (!areSame(this.#watched, this.#shown)) this.#sendLater(PAUSE_MS);
  }

  /** Requests the state of all watched users again. */
  watchAgain() {
    this.#watched = new Set();
    this.#sendLater(PAUSE_MS);
  }

  /** A session has begun. @param {Send} send */
  online(send) {
    this.#send = send;
    this.#sendLater(0);
  }

  /** The session has ended: what is known may be wrong from now on. */
  offline() {
    this.#send = null;
    this.#watched = new Set();
    if (!this.#seen.size) return;
    this.#seen.clear();
    this.changed();
  }

  /** @param {WirePresence} presence of a user, which the server has sent */
  show({ user_id = "", is_online: isOnline = false, last_seen_ms = "0" }) {
    if (!this.#watched.has(user_id)) return;
    this.#seen.set(user_id, { isOnline, lastSeen_ms: Number(last_seen_ms) });
    this.changed();
  }

  /** The users on the screen, up to the limit. */
  get #shown() {
    const all = new Set([...this.#parts.values()].reverse().flat());
    all.delete(this.#me);
    all.delete("");
    return new Set([...all].slice(0, MAX_WATCHED));
  }

  /** @param {number} after_ms */
  #sendLater(after_ms) {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#sendShown();
    }, after_ms);
  }

  #sendShown() {
    const shown = this.#shown;
    if (!this.#send || areSame(this.#watched, shown)) return;
    const isSent = this.#send({ watch: { user_ids: [...shown] } }, ({ refused }) => {
      if (!refused?.retryable || this.#watched !== shown) return;
      this.#watched = new Set();
      this.#sendLater(Math.max(refused.retry_after_ms ?? 0, RETRY_MS));
    });
    if (!isSent) return;
    this.#watched = shown;
    for (const user_id of this.#seen.keys()) if (!shown.has(user_id)) this.#seen.delete(user_id);
  }
}

/** @param {ReadonlySet<string>} some @param {ReadonlySet<string>} others */
const areSame = (some, others) => some.size === others.size && [...some].every((one) => others.has(one));
