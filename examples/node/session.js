/**
 * One user's session over gRPC: kept connected, so that no message is lost and none is shown twice.
 *
 * docs/client-guide.md has the rules that this follows.
 */

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

import { ApiError } from "./api.js";

const ANSWER_MS = 10_000; // for Welcome, and for any sign of life after a Ping
const LAG_MS = 3_000; // history may be so far behind what is live
const HISTORY_MS = 24 * 3_600_000; // so far back history is shown at first
const MARGIN_MS = 10_000; // history is read from a little earlier on, as the times of events are only about in order
const EPOCH_MS = 1767225600000; // of the times in message ids
const MAX_SEEN = 10_000; // messages that are known again: more than a server replays

const PROTOS = fileURLToPath(new URL("../../protos", import.meta.url));
// 64-bit numbers as strings, as in JSON; and a field `frame` or `event` that names what is set.
const definition = protoLoader.loadSync("rookery/v1/session.proto", {
  includeDirs: [PROTOS],
  keepCase: true,
  longs: String,
  defaults: true,
  oneofs: true,
});
const { SessionService } = grpc.loadPackageDefinition(definition).rookery.v1;

/** Why a connection is given up, how long to wait, and where to go then. */
class Leave {
  constructor(why, { afterMs = 0, movedTo = "", isSignedOut = false } = {}) {
    Object.assign(this, { why, afterMs, movedTo, isSignedOut });
  }
}

/** `onMessage(senderId, text)` hears of each message of the chat once, but for those that are sent here. */
export class Session {
  // What outlives a connection.
  #position = null; // where to resume
  #pending = null; // what is not accepted yet; a client that may be killed keeps it on disk
  #finish = null; // hears what became of it
  #seen = new Set(); // in order, so that the oldest can be forgotten
  #newestMs = Date.now() - HISTORY_MS; // the time of the newest message that came
  #failures = 0;
  #failingSince = 0;
  // What belongs to one connection.
  #token = "";
  #stream = null; // null while there is no session
  #welcome = null;
  #replayLeft = 0;
  #sequence = 0;

  constructor(api, myId, otherId, onMessage, onStatus) {
    const [lower, higher] = BigInt(myId) < BigInt(otherId) ? [myId, otherId] : [otherId, myId];
    Object.assign(this, { api, myId, otherId, chatId: `d-${lower}-${higher}`, onMessage, onStatus });
  }

  // ---- sending

  /**
   * Resolves to what became of it, when the message can't be lost or is refused for good.
   *
   * Wait for it before the next: so messages keep their order, even if one has to be sent again.
   */
  send(text) {
    this.#pending = { client_message_id: randomUUID(), recipient_id: this.otherId, text: { body: text } };
    this.#isNew(this.myId, this.#pending.client_message_id); // it is no news if it comes in a replay
    this.#sendPending();
    return new Promise((resolve) => (this.#finish = resolve));
  }

  /** Whenever it may not have arrived: the same client_message_id makes one message, however often it comes. */
  #sendPending() {
    if (this.#pending) this.#stream?.write({ send: this.#pending });
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

  /** Random, so that not all clients of a gateway come back at once; growing, but another soon takes over. */
  #pause({ afterMs, movedTo }) {
    const now = performance.now();
    if (this.#failures === 0) this.#failingSince = now;
    this.#failures = Math.min(this.#failures + 1, 10);
    if (movedTo && this.#failures === 1) return 0; // if it is not there either, gateways are at odds: give them time
    const longest = Math.min(Math.max((now - this.#failingSince) / 4, 2_000), 5_000);
    return Math.max(afterMs, Math.random() * Math.min(250 * 2 ** this.#failures, longest));
  }

  async #connect({ movedTo, isSignedOut }) {
    try {
      this.#token = await this.api.accessToken(isSignedOut ? this.#token : "");
      if (!this.#position) await this.#readHistory(this.#newestMs); // what came in the newest seconds will be replayed
      return await this.#converse(movedTo || (await this.api.gateway()));
    } catch (error) {
      if (!(error instanceof ApiError && error.isRetryable)) throw error;
      return new Leave(error.message, { afterMs: error.retryAfterMs });
    }
  }

  /** Hold one connection; why it ended. */
  #converse(address) {
    // A channel that could not connect tries again by a backoff of its own, up to two minutes. A new one does not, if
    // it does not share what is below it.
    const isSecure = address.startsWith("grpcs://");
    const credentials = isSecure ? grpc.credentials.createSsl() : grpc.credentials.createInsecure();
    const options = { "grpc.use_local_subchannel_pool": 1 };
    const client = new SessionService(address.replace("grpcs://", ""), credentials, options);
    const stream = client.Connect();
    this.#sequence = 0;
    return new Promise((resolve) => {
      const watch = new Watch(() => stream.write({ ping: {} }), () => leave(new Leave("the server is silent")));
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

  // ---- what comes

  /** Returns a Leave if the connection is to be given up. */
  #receive(frame) {
    if (Number(frame.sequence) > this.#sequence + 1) {
      this.#sendPending(); // frames were dropped: Gap tells of events, but an answer may have been among them
    }
    this.#sequence = Number(frame.sequence);
    switch (frame.frame) {
      case "welcome":
        this.#enter(frame.welcome);
        break;
      case "event":
        this.#receiveEvent(frame.event);
        break;
      case "accepted":
        this.#answer(frame.accepted, "accepted");
        break;
      case "refused":
        if (!frame.refused.retryable) this.#answer(frame.refused, `refused (${frame.refused.message})`);
        else setTimeout(() => this.#sendPending(), Math.max(frame.refused.retry_after_ms, 1_000));
        break;
      case "gap":
        this.#position = frame.gap.position ?? this.#position;
        this.onStatus("* events are missing: reading history");
        this.#fillGap(this.#newestMs - MARGIN_MS);
        break;
      case "expiring":
        this.#renew();
        break;
      case "reconnect":
        return new Leave("the gateway stops", { afterMs: frame.reconnect.after_ms });
      case "moved":
        return new Leave("the gateway is another", { movedTo: frame.moved.grpc });
      case "goodbye":
        return new Leave(frame.goodbye.message, { isSignedOut: frame.goodbye.code === "unauthenticated" });
    }
  }

  #enter(welcome) {
    this.onStatus("* connected");
    this.#failures = 0;
    this.#welcome = welcome;
    this.#replayLeft = welcome.replayed;
    if (!this.#replayLeft) this.#position = welcome.position;
    this.#sendPending();
  }

  #receiveEvent(event) {
    this.#position = event.position;
    // Not sooner than at the end of a replay: what a lost connection has not replayed must come with the next.
    if (this.#replayLeft && --this.#replayLeft === 0) this.#position = this.#welcome.position;
    if (event.message?.chat_id === this.chatId) {
      // Reactions, receipts and typing would come here too.
      const sentMs = Number(BigInt(event.message.message_id) >> 22n) + EPOCH_MS;
      this.#newestMs = Math.max(this.#newestMs, sentMs);
      this.#hear(event.message);
    }
  }

  #answer({ client_message_id }, outcome) {
    if (this.#pending?.client_message_id !== client_message_id) return;
    this.#pending = null;
    this.#finish(outcome);
  }

  #hear({ sender_id, client_message_id, text }) {
    if (this.#isNew(sender_id, client_message_id)) this.onMessage(sender_id, text?.body ?? "");
  }

  /** False for what replays, retries and history bring once more. */
  #isNew(senderId, clientMessageId) {
    const key = `${senderId} ${clientMessageId}`;
    if (this.#seen.has(key)) return false;
    this.#seen.add(key);
    if (this.#seen.size > MAX_SEEN) this.#seen.delete(this.#seen.values().next().value);
    return true;
  }

  // ---- meanwhile, over HTTP

  async #readHistory(sinceMs) {
    for await (const message of this.api.history(this.chatId, sinceMs)) this.#hear(message);
  }

  /** Read what is missing, however often that must be tried; and once more, as history may lag behind. */
  async #fillGap(sinceMs) {
    for (let reads = 0; reads < 2; await sleep(LAG_MS)) {
      try {
        await this.#readHistory(sinceMs);
        reads++;
      } catch (error) {
        if (!error.isRetryable) return this.onStatus(`* no history: ${error.message}`);
      }
    }
  }

  async #renew() {
    try {
      this.#token = await this.api.accessToken(this.#token);
      this.#stream?.write({ renew: { access_token: this.#token } });
    } catch (error) {
      this.onStatus(`* no new token: ${error.message}`); // the session ends with its token, the next has a new one
    }
  }
}

/** A server may vanish without a word: ask one that is silent, and leave it if it does not answer. */
class Watch {
  #timer;

  constructor(ask, leave) {
    Object.assign(this, { ask, leave });
    this.#timer = setTimeout(leave, ANSWER_MS);
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
