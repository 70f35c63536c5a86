// A session with the gateway over WebSocket: authenticates, watches sequence numbers, keeps the position, renews its
// token, finds out when the line is dead, and connects again, with a growing and random pause, from where it was.

import { Problem } from "./api.js";
import { SignedOut } from "./credentials.js";

/** @import {ConnectionState, Position, ServerFrame, Welcome} from "./types.js" */

const PROTOCOL = "rookery.v1.json";
/** From opening the socket to Welcome, in milliseconds. */
const WELCOME_DEADLINE_MS = 10_000;
/** After a ping, any frame must come within this. */
const PONG_DEADLINE_MS = 8_000;
const FIRST_PAUSE_MS = 1_000;
/** While another gateway is about to take over, which takes some seconds: the pause must not double them. */
const LONGEST_SOON_MS = 2_000;
/** When it lasts longer than that, a pause may add this part to it, up to the longest: something is really down. */
const ADDED_PART = 1 / 4;
const LONGEST_PAUSE_MS = 30_000;
/** A session that lasted this long was a good one: the pauses start from the shortest again. */
const GOOD_SESSION_MS = 10_000;
/** Until Welcome says something else. */
const HEARTBEAT_MS = 30_000;

/**
 * What a session needs of the world.
 * @typedef {object} World
 * @property {() => Promise<{websocket: string}>} gateway where to connect
 * @property {(rejected: string) => Promise<string>} accessToken a token, other than one that was rejected
 * @property {(url: string, protocol: string) => WebSocket} openSocket
 * @property {() => number} random from 0 to 1
 */
/**
 * Whom a session tells.
 * @typedef {object} Listener
 * @property {(state: ConnectionState) => void} onState
 * @property {(frame: ServerFrame) => void} onFrame frames other than those that only concern the connection
 * @property {(welcome: Welcome) => void} onWelcome
 * @property {() => void} onMissed frames are missing before the one that follows: read history
 */

export class Session {
  /** @type {ConnectionState} */
  state = "waiting";
  #world;
  #listener;
  /** @type {WebSocket | null} */
  #socket = null;
  /** Rises with each attempt, so that what belongs to an older one is known. */
  #attempt = 0;
  #failures = 0;
  /** How long the pauses were together since there was a good session. */
  #paused_ms = 0;
  #onlineSince_ms = Infinity;
  #framesSent = 0;
  #lastSequence = 0;
  /** @type {Position | undefined} */
  #position;
  #token = "";
  #rejected = "";
  #movedTo = "";
  /** Whether this attempt goes where the one before it was sent. */
  #isMoving = false;
  #heartbeatMs = HEARTBEAT_MS;
  /** @type {Record<"pause" | "deadline" | "heartbeat", ReturnType<typeof setTimeout> | undefined>} */
  #timers = { pause: undefined, deadline: undefined, heartbeat: undefined };

  /** @param {World} world @param {Listener} listener */
  constructor(world, listener) {
    this.#world = world;
    this.#listener = listener;
  }

  /** Connects now, whatever it was waiting for. Does nothing if it is connected or about to be. */
  connect() {
    if (this.state === "waiting") void this.#connect(++this.#attempt);
  }

  /** Ends the session for good. */
  end() {
    this.#drop();
    this.#enter("ended");
  }

  /** Asks for a sign of life, to find out soon when the line may be dead. */
  probe() {
    if (this.state === "online") this.#ping();
    else this.connect();
  }

  /**
   * @param {object} frame a ClientFrame
   * @returns {number} the frame's number in this session; 0 if there is no session to send it in
   */
  send(frame) {
    if (this.state !== "online" || !this.#socket) return 0;
    return this.#write(this.#socket, frame);
  }

  /** Gives the connection up and starts another: what was sent was not answered. */
  restart() {
    if (this.state === "online") this.#lost();
  }

  /** @param {WebSocket} socket @param {object} frame */
  #write(socket, frame) {
    socket.send(JSON.stringify(frame));
    return ++this.#framesSent;
  }

  /** @param {number} attempt */
  async #connect(attempt) {
    clearTimeout(this.#timers.pause);
    this.#enter("connecting");
    this.#isMoving = this.#movedTo !== "";
    try {
      const { websocket } = this.#movedTo ? { websocket: this.#movedTo } : await this.#world.gateway();
      this.#movedTo = "";
      const token = await this.#world.accessToken(this.#rejected);
      if (attempt === this.#attempt && this.state === "connecting") this.#open(websocket, token);
    } catch (fault) {
      if (attempt !== this.#attempt) return;
      if (fault instanceof SignedOut) this.end();
      else this.#lost(Math.max(this.#nextPause(), fault instanceof Problem ? fault.retry_after_ms : 0));
    }
  }

  /** @param {string} url @param {string} token */
  #open(url, token) {
    const socket = this.#world.openSocket(url, PROTOCOL);
    this.#socket = socket;
    this.#token = token;
    this.#rejected = "";
    this.#framesSent = this.#lastSequence = 0;
    this.#timers.deadline = setTimeout(() => this.#lost(), WELCOME_DEADLINE_MS);
    const current = () => socket === this.#socket;
    socket.onopen = () => {
      if (current())
        this.#write(socket, {
          authenticate: { access_token: token, last_position: this.#position, client_name: "web" },
        });
    };
    socket.onmessage = ({ data }) => {
      if (current()) this.#receive(JSON.parse(data));
    };
    socket.onclose = () => {
      if (current()) this.#lost();
    };
  }

  /** @param {ServerFrame} frame */
  #receive(frame) {
    if (this.state === "online") clearTimeout(this.#timers.deadline);
    const sequence = Number(frame.sequence);
    const missed = sequence !== this.#lastSequence + 1;
    this.#lastSequence = sequence;
    if (missed) this.#listener.onMissed();
    if (frame.welcome) this.#welcome(frame.welcome);
    else if (frame.expiring) void this.#renew();
    else if (frame.reconnect) this.#lost(frame.reconnect.after_ms ?? 0);
    else if (frame.moved) this.#move(frame.moved.websocket ?? "");
    else if (frame.goodbye) this.#dismissed(frame.goodbye.code);
    else this.#deliver(frame);
  }

  /** @param {ServerFrame} frame */
  #deliver(frame) {
    if (this.state === "connecting" && frame.refused) this.#reject(frame.refused.code);
    this.#position = frame.event?.position ?? frame.gap?.position ?? this.#position;
    if (!frame.pong) this.#listener.onFrame(frame);
  }

  /** @param {Welcome} welcome */
  #welcome(welcome) {
    clearTimeout(this.#timers.deadline);
    this.#onlineSince_ms = performance.now();
    this.#heartbeatMs = welcome.heartbeat_interval_ms || HEARTBEAT_MS;
    // What is about to be replayed is older than the welcome's position: until it has come, the old one holds.
    if (!this.#position || !welcome.replayed) this.#position = welcome.position ?? this.#position;
    this.#scheduleHeartbeat();
    this.#enter("online");
    this.#listener.onWelcome(welcome);
  }

  /** The token was not taken: the next attempt needs another. @param {string | undefined} code */
  #reject(code) {
    if (code === "unauthenticated") this.#rejected = this.#token;
  }

  /** @param {string | undefined} code */
  #dismissed(code) {
    this.#reject(code);
    this.#lost();
  }

  /**
   * Goes there at once; but not if that is the answer again: two gateways that send it to each other would keep it busy.
   * @param {string} websocket
   */
  #move(websocket) {
    this.#movedTo = websocket;
    this.#lost(this.#isMoving ? this.#nextPause() : 0);
  }

  async #renew() {
    const attempt = this.#attempt;
    try {
      const access_token = await this.#world.accessToken(this.#token);
      if (attempt === this.#attempt && this.send({ renew: { access_token } })) this.#token = access_token;
    } catch (fault) {
      if (fault instanceof SignedOut) this.end();
      // Otherwise the session ends with its token, and connecting again fetches another.
    }
  }

  #scheduleHeartbeat() {
    clearTimeout(this.#timers.heartbeat);
    this.#timers.heartbeat = setTimeout(() => {
      this.#ping();
      this.#scheduleHeartbeat();
    }, this.#heartbeatMs);
  }

  #ping() {
    this.send({ ping: {} });
    clearTimeout(this.#timers.deadline);
    this.#timers.deadline = setTimeout(() => this.#lost(), PONG_DEADLINE_MS);
  }

  /** Closes what there is and connects again later. @param {number} [after_ms] when, if the server said so */
  #lost(after_ms) {
    this.#drop();
    const pause_ms = after_ms ?? this.#nextPause();
    this.#onlineSince_ms = Infinity;
    this.#timers.pause = setTimeout(() => this.connect(), pause_ms);
    this.#enter("waiting");
  }

  #nextPause() {
    if (performance.now() - this.#onlineSince_ms > GOOD_SESSION_MS) this.#failures = this.#paused_ms = 0;
    const bound = Math.min(Math.max(this.#paused_ms * ADDED_PART, LONGEST_SOON_MS), LONGEST_PAUSE_MS);
    const longest = Math.min(bound, FIRST_PAUSE_MS * 2 ** this.#failures++);
    const pause_ms = longest * (0.3 + this.#world.random() * 0.7);
    this.#paused_ms += pause_ms;
    return pause_ms;
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.#attempt++;
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    socket?.close();
  }

  /** @param {ConnectionState} state */
  #enter(state) {
    if (this.state === state || this.state === "ended") return;
    this.state = state;
    this.#listener.onState(state);
  }
}
