// A session with the gateway over WebSocket: authenticates, keeps the position, renews its token, detects a dead
// connection, and reconnects from its position with growing random pauses. It does not check the numbers of frames: the
// server drops only events, and sends a Gap after them.

import { Problem } from "./api.js";
import { SignedOut } from "./credentials.js";

/** @import {ConnectionState} from "./types.js" */
/** @import {ClientFrame, Position, ServerFrame, Welcome} from "./wire.js" */

const PROTOCOL = "rookery.v1.json";
/** The socket has to open within this time, in milliseconds: that of a gateway that is frozen does not. */
const OPEN_DEADLINE_MS = 10_000;
/**
 * From the open socket to Welcome, in milliseconds: a gateway that runs sends that or Reconnect within 15 seconds, also
 * while it waits for its partition.
 */
const WELCOME_DEADLINE_MS = 20_000;
/** An attempt without a welcome doubles the deadline of the next, up to this: a slow server needs no more attempts. */
const LONGEST_WELCOME_DEADLINE_MS = 40_000;
/** After a ping, any frame must come within this. */
const PONG_DEADLINE_MS = 8_000;
/** The server should send a frame within this time after a request; otherwise the connection may be dead. */
const ANSWER_EXPECTED_MS = 1_000;
/** A connection on which a frame has no answer after this time is replaced. */
const ANSWER_DEADLINE_MS = 10_000;
const FIRST_PAUSE_MS = 1_000;
/** The longest pause while another gateway takes over, which takes some seconds: the pause must not double them. */
const TAKEOVER_PAUSE_MS = 2_000;
/** In a longer outage a pause may add this share of its length, up to the longest pause. */
const PAUSE_SHARE = 1 / 4;
/**
 * As for all clients, see docs/client-guide.md: when the server is back after any outage, users are online within some 12
 * seconds, for which a longer pause would leave no time.
 */
const LONGEST_PAUSE_MS = 5_000;
/**
 * From so much on, the time for which the server waited for an address is the whole pause, however long the outage is:
 * more would only delay a client whose gateway is back.
 */
const WHOLE_PAUSE_MS = 1_000;
/** At most so much is added to a pause that the server sets, so that clients do not come all at once. */
const SPREAD_MS = 500;
/** Until Welcome states another. */
const HEARTBEAT_MS = 30_000;

/**
 * The functions that a session uses.
 * @typedef {object} Environment
 * @property {(unreachable: string) => Promise<{websocket: string}>} gateway where to connect, if possible elsewhere
 * @property {(rejected: string) => Promise<string>} accessToken a token, other than one that was rejected
 * @property {(url: string, protocol: string) => WebSocket} openSocket
 * @property {() => number} random from 0 to 1
 */
/**
 * The callbacks of a session.
 * @typedef {object} Listener
 * @property {(state: ConnectionState) => void} onState
 * @property {() => void} onSilence `isSilent` has changed
 * @property {(frame: ServerFrame) => void} onFrame receives events and gaps
 * @property {(welcome: Welcome) => void} onWelcome
 */

export class Session {
  /** @type {ConnectionState} */
  state = "waiting";
  /** Whether a response of the server is overdue. */
  isSilent = false;
  /** Whether the server has refused the last session, since the user has too many at once. */
  isOneTooMany = false;
  #environment;
  #listener;
  /** @type {WebSocket | null} */
  #socket = null;
  /** Rises with each attempt, to detect callbacks of an older attempt. */
  #attempt = 0;
  #failures = 0;
  /** The sum of the pauses since the last welcome. */
  #paused_ms = 0;
  #welcomeDeadline_ms = WELCOME_DEADLINE_MS;
  #framesSent = 0;
  /**
   * The frames of this session without an answer, by number.
   * @type {Map<number, {answered: (answer: ServerFrame) => void}>}
   */
  #unanswered = new Map();
  /** @type {Position | undefined} */
  #position;
  #token = "";
  #rejectedToken = "";
  #redirect = "";
  /** The address of the newest connection, until there is an answer. */
  #unreachable = "";
  /** How long the server took to name an address after an unreachable one: a part of the pause, if the connection to it fails. */
  #waited_ms = 0;
  /** Whether this attempt follows a `moved` frame of the one before. */
  #isRedirected = false;
  #heartbeatMs = HEARTBEAT_MS;
  #maxFrameBytes = Infinity;
  /** @type {Partial<Record<"pause" | "deadline" | "silence" | "heartbeat", ReturnType<typeof setTimeout>>>} */
  #timers = {};

  /** @param {Environment} environment @param {Listener} listener */
  constructor(environment, listener) {
    this.#environment = environment;
    this.#listener = listener;
  }

  /** Connects now, without waiting for the pause to end. Does nothing while connected or connecting. */
  connect() {
    if (this.state === "waiting") void this.#connect(++this.#attempt);
  }

  /** Ends the session for good. */
  end() {
    this.#disconnect();
    this.#setState("ended");
  }

  /** Sends a ping, to detect soon whether the connection is dead. */
  probe() {
    if (this.state === "online") this.#ping();
    else this.connect();
  }

  /**
   * Sends a frame, whose answer is passed on: `accepted` or `refused`. If the session ends before, there is none. A frame
   * that is too long for the server is refused here: the server would only close the connection.
   * @param {ClientFrame} frame
   * @param {(answer: ServerFrame) => void} [answered]
   * @returns {boolean} false if the session is not online
   */
  send(frame, answered = () => {}) {
    if (this.state !== "online" || !this.#socket) return false;
    const text = JSON.stringify(frame);
    if (new TextEncoder().encode(text).length > this.#maxFrameBytes) {
      queueMicrotask(() => answered({ sequence: "0", refused: { frame: "0", code: "too_large", message: "" } }));
      return true;
    }
    this.#timers.silence ??= setTimeout(() => this.#setSilent(true), ANSWER_EXPECTED_MS);
    const number = this.#write(this.#socket, text);
    if (frame.ping) return true; // Pong has its own deadline
    const waiting = { answered };
    this.#unanswered.set(number, waiting);
    setTimeout(() => this.#unanswered.get(number) === waiting && this.#reconnectLater(), ANSWER_DEADLINE_MS);
    return true;
  }

  /** Closes the connection and opens another. */
  restart() {
    if (this.state === "online") this.#reconnectLater();
  }

  /** @param {WebSocket} socket @param {string} text of a frame @returns {number} the frame's number in this session */
  #write(socket, text) {
    socket.send(text);
    return ++this.#framesSent;
  }

  /** @param {number} attempt */
  async #connect(attempt) {
    clearTimeout(this.#timers.pause);
    this.#setState("connecting");
    this.#isRedirected = this.#redirect !== "";
    try {
      this.#waited_ms = 0;
      const asked_ms = performance.now();
      const { websocket } = this.#redirect
        ? { websocket: this.#redirect }
        : await this.#environment.gateway(this.#unreachable);
      this.#redirect = "";
      if (this.#unreachable) this.#waited_ms = performance.now() - asked_ms; // else it waits for no other
      this.#unreachable = websocket;
      const token = await this.#environment.accessToken(this.#rejectedToken);
      if (attempt === this.#attempt && this.state === "connecting") this.#open(websocket, token);
    } catch (fault) {
      if (attempt !== this.#attempt) return;
      if (fault instanceof SignedOut) this.end();
      else if (fault instanceof Problem && fault.retry_after_ms)
        this.#reconnectLater(fault.retry_after_ms + this.#environment.random() * SPREAD_MS);
      else this.#reconnectLater();
    }
  }

  /** @param {string} url @param {string} token */
  #open(url, token) {
    const socket = this.#environment.openSocket(url, PROTOCOL);
    this.#socket = socket;
    this.#token = token;
    this.#rejectedToken = "";
    this.#framesSent = 0;
    this.#awaitWelcome(OPEN_DEADLINE_MS);
    const current = () => socket === this.#socket;
    socket.onopen = () => {
      const authenticate = { access_token: token, last_position: this.#position, client_name: "web" };
      if (!current()) return;
      this.#write(socket, JSON.stringify({ authenticate }));
      this.#awaitWelcome(this.#welcomeDeadline_ms);
    };
    socket.onmessage = ({ data }) => {
      if (current()) this.#receive(JSON.parse(data));
    };
    socket.onclose = () => {
      if (current()) this.#reconnectLater();
    };
  }

  /** @param {ServerFrame} frame */
  #receive(frame) {
    if (this.state === "online" || frame.welcome) this.#heard();
    this.#unreachable = "";
    if (frame.welcome) this.#onWelcome(frame.welcome);
    else if (frame.expiring) void this.#renew();
    else if (frame.reconnect) this.#reconnectLater(frame.reconnect.after_ms ?? 0);
    else if (frame.moved) this.#onMoved(frame.moved.websocket ?? "");
    else if (frame.goodbye) this.#onGoodbye(frame.goodbye.code);
    else this.#deliver(frame);
  }

  /** @param {ServerFrame} frame */
  #deliver(frame) {
    if (this.state === "connecting" && frame.refused) this.#reject(frame.refused.code);
    this.#position = frame.event?.position ?? frame.gap?.position ?? this.#position;
    const answer = frame.accepted ?? frame.refused;
    if (answer) this.#answer(Number(answer.frame), frame);
    else if (!frame.pong) this.#listener.onFrame(frame);
  }

  /** @param {number} number of the answered frame @param {ServerFrame} answer */
  #answer(number, answer) {
    const waiting = this.#unanswered.get(number);
    this.#unanswered.delete(number);
    waiting?.answered(answer);
  }

  /** @param {number} deadline_ms from now on */
  #awaitWelcome(deadline_ms) {
    clearTimeout(this.#timers.deadline);
    this.#timers.deadline = setTimeout(() => this.#onNoWelcome(), deadline_ms);
  }

  /** A socket that did not even open gets no more time: it has sent no frame. */
  #onNoWelcome() {
    if (this.#framesSent) this.#welcomeDeadline_ms = Math.min(2 * this.#welcomeDeadline_ms, LONGEST_WELCOME_DEADLINE_MS);
    this.#reconnectLater();
  }

  /** @param {Welcome} welcome */
  #onWelcome(welcome) {
    this.#failures = this.#paused_ms = this.#waited_ms = 0;
    this.#welcomeDeadline_ms = WELCOME_DEADLINE_MS;
    this.isOneTooMany = false;
    this.#heartbeatMs = welcome.heartbeat_interval_ms || HEARTBEAT_MS;
    this.#maxFrameBytes = welcome.limits?.max_frame_bytes || Infinity;
    // The events to be replayed are older than the welcome's position: until they arrive, the old position stays.
    if (!this.#position || !welcome.replayed) this.#position = welcome.position ?? this.#position;
    this.#scheduleHeartbeat();
    this.#setState("online");
    this.#listener.onWelcome(welcome);
  }

  /** Notes a rejected token, so that the next attempt fetches another. @param {string | undefined} code */
  #reject(code) {
    if (code === "unauthenticated") this.#rejectedToken = this.#token;
  }

  /** @param {string | undefined} code */
  #onGoodbye(code) {
    this.#reject(code);
    this.isOneTooMany = code === "rate_limited" && this.state === "connecting"; // a session that is online sent too much
    this.#reconnectLater();
  }

  /**
   * Connects to the named gateway at once. After a second redirect in a row it pauses first: two gateways that redirect
   * to each other would otherwise keep the client busy.
   * @param {string} websocket
   */
  #onMoved(websocket) {
    this.#redirect = websocket;
    this.#reconnectLater(this.#isRedirected ? this.#nextPause() : 0);
  }

  async #renew() {
    const attempt = this.#attempt;
    try {
      const access_token = await this.#environment.accessToken(this.#token);
      if (attempt === this.#attempt && this.send({ renew: { access_token } })) this.#token = access_token;
    } catch (fault) {
      if (fault instanceof SignedOut) this.end();
      // Otherwise the session ends when its token expires, and reconnecting fetches another.
    }
  }

  #scheduleHeartbeat() {
    clearTimeout(this.#timers.heartbeat);
    this.#timers.heartbeat = setTimeout(() => {
      this.#ping();
      this.#scheduleHeartbeat();
    }, this.#heartbeatMs);
  }

  /** An unanswered ping keeps its deadline: heartbeats may be more frequent. */
  #ping() {
    this.send({ ping: {} });
    this.#timers.deadline ??= setTimeout(() => this.#reconnectLater(), PONG_DEADLINE_MS);
  }

  #heard() {
    clearTimeout(this.#timers.deadline);
    clearTimeout(this.#timers.silence);
    this.#timers.deadline = this.#timers.silence = undefined;
    this.#setSilent(false);
  }

  /** @param {boolean} isSilent */
  #setSilent(isSilent) {
    if (this.isSilent === isSilent) return;
    this.isSilent = isSilent;
    this.#listener.onSilence();
  }

  /** Closes the connection and reconnects later. @param {number} [after_ms] the pause, if the server set one */
  #reconnectLater(after_ms) {
    this.#disconnect();
    const pause_ms = after_ms ?? this.#nextPause();
    this.#timers.pause = setTimeout(() => this.connect(), pause_ms);
    this.#setState("waiting");
  }

  #nextPause() {
    const bound = Math.min(Math.max(this.#paused_ms * PAUSE_SHARE, TAKEOVER_PAUSE_MS), LONGEST_PAUSE_MS);
    const longest = Math.min(bound, FIRST_PAUSE_MS * 2 ** this.#failures++);
    const pause_ms = longest * (0.3 + this.#environment.random() * 0.7);
    this.#paused_ms += pause_ms;
    return this.#waited_ms >= WHOLE_PAUSE_MS ? 0 : Math.max(pause_ms - this.#waited_ms, 0);
  }

  #disconnect() {
    const socket = this.#socket;
    this.#socket = null;
    this.#attempt++;
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    this.#timers = {};
    this.#unanswered.clear();
    this.isSilent = false;
    socket?.close();
  }

  /** @param {ConnectionState} state */
  #setState(state) {
    if (this.state === state || this.state === "ended") return;
    this.state = state;
    this.#listener.onState(state);
  }
}
