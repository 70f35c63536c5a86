/**
 * One user's session over gRPC: kept connected, so that no message is lost or shown twice.
 *
 * It follows the rules of docs/client-guide.md.
 */

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

import { ApiError } from "./api.js";

const ANSWER_MS = 10_000; // for any frame after a Ping
const WELCOME_MS = 20_000; // for the connection and its Welcome, at first
const LONGEST_WELCOME_MS = 40_000; // each attempt without one doubles the time of the next
const CATCH_UP_MS = 5_000; // between two readings of missed events
const LONGEST_CATCH_UP_MS = 30_000; // while the server does not answer
const EPOCH_MS = 1767225600000; // of the times in ids
const MAX_SEEN = 10_000; // remembered events: more than a server replays

const PROTOS = fileURLToPath(new URL("../../protos", import.meta.url));
// 64-bit numbers as strings, as in JSON; and a field `frame`, `event` or `body` that names the field that is set.
const definition = protoLoader.loadSync("rookery/v1/session.proto", {
  includeDirs: [PROTOS],
  keepCase: true,
  longs: String,
  defaults: true,
  oneofs: true,
});
const { SessionService } = grpc.loadPackageDefinition(definition).rookery.v1;

/** The reason for leaving a connection, the pause after it, and the next gateway. */
class Leave {
  constructor(why, { afterMs = 0, movedTo = "", isSignedOut = false, isFinal = false } = {}) {
    Object.assign(this, { why, afterMs, movedTo, isSignedOut, isFinal });
  }
}

/** `onMessage(senderId, text)` is called once for each message and edit of the chat that was not sent here. */
export class Session {
  // State that outlives a connection.
  #position = null; // where to resume
  #unanswered = []; // messages and changes, as `#command` makes them; a client that may be killed stores them on disk
  #newestSent = "0"; // the id of the newest own message
  #seen = new Map(); // in order, so that the oldest can be removed
  #after = 0n; // all events up to this id were received
  #missedUntilMs = 0; // some events before this time are missing, until that id has it
  #failures = 0;
  #failingSince = 0;
  #welcomeMs = WELCOME_MS;
  // State of one connection.
  #token = "";
  #stream = null; // null while there is no session
  #welcome = null;
  #replayLeft = 0;
  #number = 0; // of the newest frame that was sent

  constructor(api, myId, chatId, onMessage, onStatus) {
    Object.assign(this, { api, myId, chatId, onMessage, onStatus });
  }

  // ---- sending

  /**
   * Resolves to the outcome once the message is accepted or refused for good.
   *
   * Wait for it before the next, so that messages keep their order even if one is sent again.
   */
  send(text) {
    const send = { client_message_id: randomUUID(), chat_id: this.chatId, text: { body: text } };
    this.#isNew(`message ${this.myId} ${send.client_message_id}`); // a replay of it is not shown
    return this.#command({ send });
  }

  /** Replace the text of the newest own message. */
  edit(text) {
    const edited = { text: { body: text } };
    const ids = { chat_id: this.chatId, target_id: this.#newestSent, client_change_id: randomUUID() };
    return this.#command({ change: { ...ids, edited } });
  }

  #command(frame) {
    return new Promise((finish) => {
      this.#unanswered.push({ frame, finish, number: 0, firstSentMs: 0 });
      this.#transmit(this.#unanswered.at(-1));
    });
  }

  /** Send the unanswered frames again: the server keeps one message or change per client id. */
  #resend() {
    for (const command of this.#unanswered) this.#transmit(command);
  }

  #transmit(command) {
    if (!this.#stream) return;
    command.firstSentMs ||= Date.now();
    const msAgo = (Date.now() - command.firstSentMs) >>> 0; // very long, if the clock was set back
    const frame = { ...command.frame, first_sent_ms_ago: msAgo };
    const limit = this.#welcome.limits.max_frame_bytes;
    if (SessionService.service.Connect.requestSerialize(frame).length > limit) {
      // The server might end the connection, each time.
      this.#settle(command, `refused (A frame may have ${limit} bytes at most.)`);
    } else {
      command.number = this.#say(frame);
    }
  }

  /** Send a frame, and return its number; Authenticate was number 1. */
  #say(frame) {
    if (!this.#stream) return 0;
    this.#stream.write(frame);
    return ++this.#number;
  }

  // ---- one connection after the other

  /** Throws ApiError if it can't sign in any more. */
  async stayConnected() {
    let left = new Leave("");
    for (;;) {
      left = await this.#connect(left);
      this.#stream = null;
      const pause = this.#pause(left);
      this.onStatus(`* no session, next try in ${(pause / 1000).toFixed(1)} s: ${left.why}`);
      await sleep(pause);
    }
  }

  /** A random pause, so that the clients of a gateway do not reconnect together; it grows, up to a low bound. */
  #pause({ afterMs, movedTo }) {
    if (afterMs) return afterMs + Math.random() * 500; // the server is up: this is no failure
    const now = performance.now();
    if (this.#failures === 0) this.#failingSince = now;
    this.#failures = Math.min(this.#failures + 1, 10);
    if (movedTo && this.#failures === 1) return 0; // the gateways disagree: give them time
    const longest = Math.min(Math.max((now - this.#failingSince) / 4, 2_000), 5_000);
    return Math.random() * Math.min(250 * 2 ** this.#failures, longest);
  }

  async #connect({ movedTo, isSignedOut }) {
    try {
      this.#token = await this.api.accessToken(isSignedOut ? this.#token : "");
      if (!this.#after) await this.#readHistory();
      const left = await this.#converse(movedTo || (await this.api.gateway()));
      if (left.isFinal) throw new ApiError(left.why, 400); // each connection would end in the same way
      return left;
    } catch (error) {
      if (!(error instanceof ApiError && error.isRetryable)) throw error;
      return new Leave(error.message, { afterMs: error.retryAfterMs });
    }
  }

  /** Hold one connection. Returns the reason for its end. */
  #converse(address) {
    // A channel that could not connect retries with its own backoff of up to two minutes. A new one does not, if
    // it does not share its subchannel.
    const isSecure = address.startsWith("grpcs://");
    const credentials = isSecure ? grpc.credentials.createSsl() : grpc.credentials.createInsecure();
    const options = { "grpc.use_local_subchannel_pool": 1 };
    const client = new SessionService(address.replace("grpcs://", ""), credentials, options);
    const stream = client.Connect();
    this.#number = 1;
    return new Promise((resolve) => {
      const silent = () => leave(new Leave("the server is silent"));
      const watch = new Watch(() => this.#say({ ping: {} }), silent, this.#welcomeMs);
      this.#welcomeMs = Math.min(2 * this.#welcomeMs, LONGEST_WELCOME_MS);
      const leave = (why) => {
        watch.stop();
        stream.removeAllListeners("data");
        stream.cancel();
        client.close();
        resolve(why);
      };
      stream.on("data", (frame) => {
        if (frame.frame === "welcome") this.#stream = stream;
        const why = this.#receive(frame);
        if (why) leave(why);
        else watch.heard(this.#welcome.heartbeat_interval_ms);
      });
      stream.on("end", () => leave(new Leave("the server ended the session")));
      stream.on("error", (error) => leave(new Leave(error.details ?? error.message)));
      stream.write({
        authenticate: { access_token: this.#token, last_position: this.#position, client_name: "Node" },
      });
    });
  }

  // ---- received frames

  /** Returns a Leave if the connection must be left. */
  #receive(frame) {
    switch (frame.frame) {
      case "welcome":
        this.#enter(frame.welcome);
        break;
      case "event":
        this.#receiveEvent(frame.event);
        break;
      case "accepted":
        this.#accept(frame.accepted);
        break;
      case "refused":
        if (!frame.refused.retryable) this.#finish(frame.refused, `refused (${frame.refused.message})`);
        else setTimeout(() => this.#resend(), Math.max(frame.refused.retry_after_ms, 1_000));
        break;
      case "gap":
        this.#position = frame.gap.position ?? this.#position;
        this.onStatus("* events are missing: reading them");
        this.#catchUp(Number(frame.gap.at_ms));
        break;
      case "expiring":
        this.#renew();
        break;
      case "reconnect":
        return new Leave("the gateway stops", { afterMs: frame.reconnect.after_ms });
      case "moved":
        return new Leave("the gateway is another", { movedTo: frame.moved.grpc });
      case "goodbye": {
        const { message, code, is_final, retry_after_ms } = frame.goodbye;
        const isSignedOut = code === "unauthenticated";
        return new Leave(message, { afterMs: retry_after_ms, isSignedOut, isFinal: is_final });
      }
    }
  }

  #enter(welcome) {
    this.onStatus("* connected");
    this.#failures = 0;
    this.#welcomeMs = WELCOME_MS;
    this.#welcome = welcome;
    this.#replayLeft = welcome.replayed;
    if (!this.#position) this.#catchUp(Number(welcome.at_ms)); // messages sent since `#readHistory`, or just before it, are missing
    if (!this.#replayLeft) this.#position = welcome.position;
    this.#resend();
  }

  #receiveEvent(event) {
    if (!event.position) return; // a signal, such as typing: it is not kept, and no place to resume from
    this.#position = event.position;
    // Not before the end of the replay: the rest of an unfinished replay must come with the next connection.
    if (this.#replayLeft && --this.#replayLeft === 0) this.#position = this.#welcome.position;
    this.#hearEvent(event);
  }

  #hearEvent(event) {
    if (event.message?.chat_id === this.chatId) this.#hear(event.message);
    else if (event.change?.chat_id === this.chatId) this.#hearChange(event);
  }

  /** Apply an own message or change: the session that sent it receives no event for it. */
  #accept(accepted) {
    const frame = this.#finish(accepted, "accepted")?.frame;
    if (frame?.send) this.#newestSent = accepted.event_id;
    else if (frame?.change) this.#isNew(`edited ${frame.change.target_id}`, accepted.event_id);
  }

  /** The command whose frame is answered; undefined if it was another frame, or was sent again. */
  #finish(answer, outcome) {
    const command = this.#unanswered.find((each) => each.number === Number(answer.frame));
    if (command) this.#settle(command, outcome);
    return command;
  }

  #settle(command, outcome) {
    this.#unanswered = this.#unanswered.filter((each) => each !== command);
    command.finish(outcome);
  }

  #hear({ sender_id, client_message_id, text }) {
    const isNew = this.#isNew(`message ${sender_id} ${client_message_id}`);
    if (isNew && text?.body) this.onMessage(sender_id, text.body); // a deleted message has no text, a file needs none
  }

  #hearChange({ event_id, change: { target_id, actor_id, edited } }) {
    if (!edited) return; // another kind of change
    const isNew = this.#isNew(`edited ${target_id}`, event_id); // the edit with the highest id stays
    if (isNew) this.onMessage(actor_id, `${edited.text?.body ?? ""} (edited)`);
  }

  /** Whether the event is new: replays, retries and history repeat events, and an older one may come later. */
  #isNew(key, eventId = 1) {
    if (BigInt(eventId) <= (this.#seen.get(key) ?? 0n)) return false;
    this.#seen.set(key, BigInt(eventId));
    if (this.#seen.size > MAX_SEEN) this.#seen.delete(this.#seen.keys().next().value);
    return true;
  }

  // ---- HTTP requests in the background

  async #readHistory() {
    const page = await this.api.history(this.chatId);
    for (const { message, changes = [] } of page.messages) {
      this.#hear(message); // as it was sent
      for (const event of changes) this.#hearChange(event);
    }
    this.#complete(page);
  }

  /** Read the events that were missed before this time of the server; one call does it for all. */
  async #catchUp(untilMs) {
    const isRunning = timeOf(this.#after) < this.#missedUntilMs;
    this.#missedUntilMs = Math.max(this.#missedUntilMs, untilMs);
    if (isRunning) return;
    for (let pause = CATCH_UP_MS; ; await sleep(pause)) {
      try {
        await this.#readChanges();
        pause = CATCH_UP_MS;
      } catch (error) {
        if (!error.isRetryable) {
          this.#missedUntilMs = 0; // the next call begins again
          return this.onStatus(`* missed events can't be read: ${error.message}`);
        }
        pause = Math.min(2 * pause, LONGEST_CATCH_UP_MS);
      }
      if (timeOf(this.#after) >= this.#missedUntilMs) return;
    }
  }

  /** A client with more chats reads the list of changed chats first, to learn which of them to read. */
  async #readChanges() {
    const page = await this.api.changes(this.chatId, this.#after);
    if (page.too_old) await this.#readHistory();
    for (const event of page.events) this.#hearEvent(event);
    this.#complete(page); // not the newest event: older ones may be missing
  }

  #complete({ complete_up_to }) {
    if (BigInt(complete_up_to) > this.#after) this.#after = BigInt(complete_up_to);
  }

  async #renew() {
    try {
      this.#token = await this.api.accessToken(this.#token);
      this.#say({ renew: { access_token: this.#token } });
    } catch (error) {
      this.onStatus(`* no new token: ${error.message}`); // the session ends with its token, the next has a new one
    }
  }
}

/** In milliseconds since 1970. */
const timeOf = (eventId) => Number(eventId >> 22n) + EPOCH_MS;

/** A server may vanish silently: ping a silent one, and leave it if it does not answer. */
class Watch {
  #timer;

  constructor(ask, leave, welcomeMs) {
    Object.assign(this, { ask, leave });
    this.#timer = setTimeout(leave, welcomeMs);
  }

  heard(heartbeatMs) {
    this.stop();
    this.#timer = setTimeout(() => {
      this.ask();
      this.#timer = setTimeout(this.leave, ANSWER_MS);
    }, heartbeatMs);
  }

  stop() {
    clearTimeout(this.#timer);
  }
}
