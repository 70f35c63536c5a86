// The session: first frame, resuming, gaps, tokens, dead connections and the pauses between attempts. Time is mocked.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { Problem } from "../../../web/api.js";
import { SignedOut } from "../../../web/credentials.js";
import { Session } from "../../../web/session.js";
import { Chats } from "../../../web/stores/chats.js";
import { Kept } from "../../../web/stores/kept.js";
import { Sending } from "../../../web/stores/sending.js";
import { ADA, CHAT, fakeDatabase, FakeSocket, settle } from "./fakes.js";

const POSITION = { offset: "4", epoch: 1 };

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  mock.method(performance, "now", () => Date.now()); // a busy machine would shorten the pauses
});
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

/** A session, the sockets that it opened, and the calls of its listener. */
function started({ gateway, accessToken } = {}) {
  const sockets = [];
  const calls = { states: [], silences: [], frames: [], welcomes: 0, rejected: [] };
  const environment = {
    gateway: gateway ?? (async () => ({ websocket: "ws://here/session" })),
    accessToken: accessToken ?? (async (rejected) => (calls.rejected.push(rejected), `token ${calls.rejected.length}`)),
    openSocket: (url, protocol) => (sockets.push(new FakeSocket(url, protocol)), sockets.at(-1)),
    random: () => 1,
  };
  const session = new Session(environment, {
    onState: (state) => calls.states.push(state),
    onSilence: () => calls.silences.push(session.isSilent),
    onFrame: (frame) => calls.frames.push(frame),
    onWelcome: () => calls.welcomes++,
  });
  session.connect();
  return { session, sockets, calls };
}

async function online({ limits, ...options } = {}) {
  const all = started(options);
  await settle();
  all.sockets[0].onopen();
  all.sockets[0].deliver({ welcome: { heartbeat_interval_ms: 30_000, position: POSITION, limits } });
  return all;
}

/** Waits for the pause and opens the next socket. */
async function reconnected({ sockets }, ms = 1_000) {
  const before = sockets.length;
  mock.timers.tick(ms);
  await settle();
  assert.equal(sockets.length, before + 1, "it connects again");
  sockets.at(-1).onopen();
  return sockets.at(-1);
}

test("the first frame authenticates, on the sub-protocol, without a position", async () => {
  const { session, sockets } = await online();
  assert.equal(sockets[0].protocol, "rookery.v1.json");
  assert.deepEqual(sockets[0].sent, [{ authenticate: { access_token: "token 1", client_name: "web" } }]);
  assert.equal(session.state, "online");
});

test("nothing is sent before the welcome, and each frame gets its answer by its number, the first being 1", async () => {
  const { session, sockets } = started();
  await settle();
  sockets[0].onopen();
  assert.equal(session.send({ ping: {} }), false);
  sockets[0].deliver({ welcome: {} });
  const answers = [];
  for (const name of ["one", "two"])
    assert.equal(session.send({ send: {} }, ({ refused }) => answers.push([name, refused?.code])), true);
  for (const frame of ["2", "3", "3"]) sockets[0].deliver(frame === "2" ? { accepted: { frame } } : { refused: { frame, code: "no" } });
  assert.deepEqual(answers, [["one", undefined], ["two", "no"]]);
});

test("a connection on which a frame has no answer for ten seconds is replaced; an answer in another session is none", async () => {
  const all = await online();
  const answers = [];
  all.session.send({ typing: {} });
  mock.timers.tick(9_999);
  all.sockets[0].deliver({ accepted: { frame: "2" } });
  all.session.send({ change: {} }, (answer) => answers.push(answer));
  mock.timers.tick(9_999);
  assert.equal(all.session.state, "online");
  mock.timers.tick(1);
  assert.equal(all.session.state, "waiting");
  (await reconnected(all)).deliver({ welcome: {} });
  all.sockets[1].deliver({ accepted: { frame: "3" } });
  assert.deepEqual(answers, []);
});

test("it resumes from the position of a gap", async () => {
  const all = await online();
  all.sockets[0].deliver({ gap: { position: { offset: "9", epoch: 1 } } });
  all.sockets[0].onclose();
  const socket = await reconnected(all);
  assert.deepEqual(socket.sent[0].authenticate.last_position, { offset: "9", epoch: 1 });
});

test("it resumes from the last event's position", async () => {
  const all = await online();
  all.sockets[0].deliver({ event: { position: { offset: "9", epoch: 1 } } });
  all.sockets[0].onclose();
  const socket = await reconnected(all);
  assert.deepEqual(socket.sent[0].authenticate.last_position, { offset: "9", epoch: 1 });
});

test("a connection that breaks before the replay arrives does not skip it", async () => {
  const all = await online();
  all.sockets[0].onclose();
  const second = await reconnected(all);
  second.deliver({ welcome: { replayed: 3, position: { offset: "7", epoch: 1 } } });
  second.onclose();
  const third = await reconnected(all, 2_000);
  assert.deepEqual(third.sent[0].authenticate.last_position, POSITION);
});

test("an expiring token is renewed in the session", async () => {
  const { sockets, calls } = await online();
  sockets[0].deliver({ expiring: {} });
  await settle();
  assert.deepEqual(sockets[0].sent.at(-1), { renew: { access_token: "token 2" } });
  assert.equal(calls.rejected.at(-1), "token 1");
});

test("a rejected token is replaced before the next attempt", async () => {
  const all = started();
  await settle();
  all.sockets[0].onopen();
  all.sockets[0].deliver({ goodbye: { code: "unauthenticated" } });
  const socket = await reconnected(all);
  assert.equal(all.calls.rejected.at(-1), "token 1");
  assert.equal(socket.sent[0].authenticate.access_token, "token 2");
});

test("a sign-in that has ended ends the session", async () => {
  const { session, calls } = started({
    accessToken: async () => {
      throw new SignedOut();
    },
  });
  await settle();
  assert.equal(session.state, "ended");
  assert.deepEqual(calls.states, ["connecting", "ended"]);
});

test("pauses stay short while a takeover may be under way, then grow slowly up to five seconds", async () => {
  const all = started({
    gateway: async () => {
      throw new Error("no answer");
    },
  });
  const pauses = [];
  for (let attempt = 0; attempt < 20; attempt++) {
    await settle();
    let pause = 0;
    while (all.session.state === "waiting") {
      mock.timers.tick(250);
      pause += 250;
    }
    pauses.push(pause);
  }
  assert.deepEqual(pauses.slice(0, 5), [1_000, 2_000, 2_000, 2_000, 2_000]);
  let waited = 0;
  for (const pause of pauses.slice(0, -1)) {
    assert.ok(pause <= Math.max(2_000, waited / 4 + 250), `${pause} ms after ${waited} ms`);
    waited += pause;
  }
  assert.equal(pauses.at(-1), 5_000);
});

test("a wait of the server for another gateway is the whole pause, also in a long outage", async () => {
  const all = started({
    gateway: async (unreachable) => {
      if (unreachable) await new Promise((done) => setTimeout(done, 2_000));
      return { websocket: "ws://here/session" };
    },
  });
  const opened_ms = [];
  for (let step = 0; step < 120; step++) {
    await settle();
    if (all.sockets.length > opened_ms.length) {
      opened_ms.push(Date.now());
      all.sockets.at(-1).onclose();
    }
    mock.timers.tick(500);
  }
  const gaps = opened_ms.slice(2).map((at_ms, index) => at_ms - opened_ms[index + 1]);
  assert.ok(gaps.length > 20 && gaps.every((gap) => gap <= 2_500), `${gaps}`); // a step of the test included
});

test("an answer that comes late without a wait for another gateway shortens no pause", async () => {
  const all = started({
    gateway: async () => {
      await new Promise((done) => setTimeout(done, 3_000));
      return { websocket: "ws://here/session" };
    },
  });
  mock.timers.tick(3_000);
  await settle();
  all.sockets[0].onclose();
  mock.timers.tick(999);
  assert.equal(all.session.state, "waiting");
  mock.timers.tick(1);
  assert.equal(all.session.state, "connecting");
});

test("the pause that the server sets is used", async () => {
  const all = await online();
  all.sockets[0].deliver({ reconnect: { after_ms: 4_000 } });
  mock.timers.tick(3_999);
  await settle();
  assert.equal(all.sockets.length, 1);
  await reconnected(all, 1);
});

test("a session beyond the limit of its user is known as such until there is a welcome", async () => {
  const all = await online();
  const ends = async (socket) => {
    socket.deliver({ goodbye: { code: "rate_limited", message: "A user may have 16 sessions at once." } });
    return [all.session.isOneTooMany, await reconnected(all, 1_000 * 2 ** (all.sockets.length - 1))];
  };
  const [ofOnline, second] = await ends(all.sockets[0]);
  const [ofSecond, third] = await ends(second);
  assert.deepEqual([ofOnline, ofSecond], [false, true], "a session that is online had sent too much");
  third.deliver({ welcome: {} });
  assert.ok(!all.session.isOneTooMany);
});

test("a moved frame is followed at once", async () => {
  const all = await online();
  all.sockets[0].deliver({ moved: { websocket: "ws://there/session" } });
  const socket = await reconnected(all, 0);
  assert.equal(socket.url, "ws://there/session");
});

test("two gateways that redirect to each other are not kept busy", async () => {
  const all = await online();
  all.sockets[0].deliver({ moved: { websocket: "ws://there/session" } });
  const second = await reconnected(all, 0);
  second.deliver({ moved: { websocket: "ws://here/session" } });
  mock.timers.tick(999);
  await settle();
  assert.equal(all.sockets.length, 2);
  const third = await reconnected(all, 1);
  assert.equal(third.url, "ws://here/session");
});

test("without a gateway for the user, the server sets the pause, which does not grow", async () => {
  let requests = 0;
  const { sockets } = started({
    gateway: async () => {
      if (requests++ < 9) throw new Problem(503, { code: "unavailable", retry_after_ms: "4000" });
      return { websocket: "ws://here/session" };
    },
  });
  for (let attempt = 1; attempt <= 9; attempt++) {
    await settle();
    mock.timers.tick(4_499);
    await settle();
    assert.deepEqual([requests, sockets.length], [attempt, 0]);
    mock.timers.tick(1);
  }
  await settle();
  assert.equal(sockets.length, 1);
});

test("the server learns which address did not answer", async () => {
  const asked = [];
  const all = started({ gateway: async (unreachable) => (asked.push(unreachable), { websocket: "ws://here/session" }) });
  await settle();
  all.sockets[0].onclose();
  (await reconnected(all)).deliver({ welcome: {} });
  all.sockets.at(-1).onclose();
  await reconnected(all);
  assert.deepEqual(asked, ["", "ws://here/session", ""]);
});

test("after sessions that end soon, the pauses are short", async () => {
  const all = await online();
  for (let session = 0; session < 9; session++) {
    all.sockets.at(-1).onclose();
    (await reconnected(all)).deliver({ welcome: {} });
  }
});

test("a ping without a response ends the connection, one with a response does not", async () => {
  const { session, sockets } = await online();
  mock.timers.tick(30_000);
  assert.deepEqual(sockets[0].sent.at(-1), { ping: {} });
  sockets[0].deliver({ pong: {} });
  mock.timers.tick(8_000);
  assert.equal(session.state, "online");
  mock.timers.tick(22_000);
  mock.timers.tick(8_000);
  assert.equal(session.state, "waiting");
  assert.ok(sockets[0].closed);
});

test("a connection without a response is replaced also where pings are more frequent than their deadline", async () => {
  const { session, sockets } = await online();
  sockets[0].deliver({ welcome: { heartbeat_interval_ms: 5_000 } });
  mock.timers.tick(5_000);
  sockets[0].deliver({ pong: {} });
  for (const seconds of [5, 5, 2]) {
    assert.equal(session.state, "online");
    mock.timers.tick(seconds * 1_000);
  }
  mock.timers.tick(1_000);
  assert.equal(session.state, "waiting");
});

test("an answer of the server that is overdue is reported, until any frame comes or the connection ends", async () => {
  const { session, sockets, calls } = await online();
  for (const [at, frame] of [{ typing: {} }, { ping: {} }].entries()) {
    session.send(frame);
    mock.timers.tick(600);
    session.send({ typing: {} });
    mock.timers.tick(400);
    assert.equal(session.isSilent, true);
    sockets[0].deliver({ accepted: { frame: String(2 + 2 * at) } });
  }
  mock.timers.tick(1_000);
  assert.deepEqual(calls.silences, [true, false, true, false]);
  session.probe();
  mock.timers.tick(8_000);
  assert.deepEqual([session.state, session.isSilent], ["waiting", false]);
});

test("a socket that does not open ends each attempt after ten seconds", async () => {
  const all = started();
  await settle();
  for (const seconds of [10, 10, 10]) {
    mock.timers.tick(seconds * 1_000 - 1);
    assert.equal(all.session.state, "connecting");
    mock.timers.tick(1);
    assert.equal(all.session.state, "waiting");
    mock.timers.tick(2_000);
    await settle();
  }
});

test("a missing welcome ends the attempt twenty seconds after its socket opened, and the next ones after more", async () => {
  const all = started();
  await settle();
  mock.timers.tick(9_000);
  all.sockets[0].onopen();
  for (const seconds of [20, 40, 40]) {
    mock.timers.tick(seconds * 1_000 - 1);
    assert.equal(all.session.state, "connecting");
    mock.timers.tick(1);
    assert.equal(all.session.state, "waiting");
    await reconnected(all, 2_000);
  }
});

test("frames of an abandoned socket are ignored", async () => {
  const { session, sockets, calls } = await online();
  session.restart();
  sockets[0].deliver({ event: {} });
  sockets[0].onclose();
  assert.equal(calls.frames.length, 0);
});

test("a frame that is too long for the server, in bytes of UTF-8, is refused without it, and the connection stays", async () => {
  const { session, sockets } = await online({ limits: { max_frame_bytes: 100 } });
  const codes = [];
  const frame = (body) => ({ send: { text: { body } } });
  const send = (body) => session.send(frame(body), ({ refused }) => codes.push(refused.code));
  const room = 100 - JSON.stringify(frame("")).length;
  assert.deepEqual(["a".repeat(room), "a".repeat(room + 1), "ä".repeat(room)].map(send), [true, true, true]);
  assert.deepEqual(codes, [], "as an answer, it is later");
  await settle();
  assert.deepEqual(codes, ["too_large", "too_large"]);
  assert.deepEqual([sockets[0].sent.length, sockets[0].closed, session.state], [2, false, "online"]);
});

test("a message and an edit that are too long for a frame fail, and the next message of the chat is sent", async () => {
  const { session, sockets } = await online({ limits: { max_frame_bytes: 400 } });
  const line = { send: (...frame) => session.send(...frame) };
  const sending = new Sending(new Chats({}, { user_id: ADA }), await Kept.open(async () => fakeDatabase()), line, {});
  const refused = [];
  sending.onRefused = ({ target_id }, { code }) => refused.push([target_id, code]);
  const long = "\u0001".repeat(100); // six characters each in JSON
  await sending.send(CHAT, long);
  await sending.send(CHAT, "next");
  await settle();
  assert.deepEqual(sending.outbox.of(CHAT).map(({ state }) => state), ["failed", "pending"]);
  sending.edit(CHAT, "5", { body: long });
  await settle();
  assert.deepEqual([refused, sending.changes.size], [[["5", "too_large"]], 0]);
  assert.deepEqual(sending.drafts.get(CHAT).editing, { message_id: "5", text: long });
  assert.deepEqual(sockets[0].sent.flatMap(({ authenticate, send }) => (authenticate ? [] : send.text.body)), ["next"]);
});
