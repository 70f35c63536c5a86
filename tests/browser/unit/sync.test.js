// The stores with a session: frames in and out, and catching up after missed events. Time is mocked.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { timeOfId } from "../../../web/messages.js";
import { Chats } from "../../../web/stores/chats.js";
import { Kept } from "../../../web/stores/kept.js";
import { Sync } from "../../../web/stores/sync.js";
import { ADA, CHAT, fakeDatabase, FakeSocket, historyOf, idAt, settle, wireMessage } from "./fakes.js";

beforeEach(() => mock.timers.enable({ apis: ["setTimeout", "Date"] }));
afterEach(() => {
  mock.timers.reset();
  delete globalThis.WebSocket;
});

/** A client that is online in a chat whose history has one message. */
async function online() {
  const sockets = [];
  globalThis.WebSocket = class extends FakeSocket {
    constructor(url, protocol) {
      super(url, protocol);
      sockets.push(this);
    }
  };
  const server = { messages: historyOf(1), newest: 1, away: false, requests: 0, changedSince: [] };
  const api = {
    accessToken: async () => "token",
    gateway: async () => ({ websocket: "ws://here/session" }),
    me: async () => ({ user_id: ADA, name: "ada" }),
    profiles: async () => ({ profiles: [] }),
    chats: async ({ changed_since_ms }) => {
      server.changedSince.push(changed_since_ms);
      const receipts = [{ chat_id: CHAT, user_id: ADA, read_up_to: idAt(1) }];
      return { chats: [{ chat_id: CHAT, newest: wireMessage(server.newest), receipts, changed_at_ms: String(timeOf(1)) }] };
    },
    messages: async () => {
      server.requests++;
      if (server.away) throw new Error("away");
      return { messages: server.messages };
    },
  };
  const chats = new Chats(api, { user_id: ADA, name: "ada", display_name: "" });
  const sync = new Sync(api, chats, new Kept(fakeDatabase()));
  sync.start();
  chats.open(CHAT);
  await settle();
  sockets[0].onopen();
  sockets[0].deliver({ welcome: { heartbeat_interval_ms: 1e9 } });
  await settle();
  server.requests = 0;
  return { chats, sync, server, socket: sockets[0] };
}

const timeOf = (minute) => timeOfId(idAt(minute));

/** Advances the mocked time. */
async function pass(seconds) {
  await settle();
  mock.timers.tick(seconds * 1_000);
  await settle();
}

const shown = (chats) => chats.conversations.of(CHAT).messages.map(({ body }) => body);

test("missed messages are read at once", async () => {
  const { chats, server, socket } = await online();
  server.messages = historyOf(1, 2);
  socket.deliver({ gap: { since_ms: "0" } });
  await settle();
  assert.deepEqual(shown(chats), ["text 1", "text 2"]);
});

test("the newest missed message of a chat is passed on, once", async () => {
  const { sync, server, socket } = await online();
  const missed = [];
  sync.onMissed = ({ body }) => missed.push(body);
  Object.assign(server, { messages: historyOf(1, 2, 3), newest: 3 });
  socket.deliver({ gap: { since_ms: "0" } });
  for (const seconds of [3, 10]) await pass(seconds);
  assert.deepEqual(missed, ["text 3"]);
});

test("a message that the archive records minutes later is found, and then reading ends", async () => {
  const { chats, server, socket } = await online();
  socket.deliver({ gap: { since_ms: "0" } });
  for (const seconds of [3, 10, 30]) await pass(seconds);
  server.messages = historyOf(1, 2);
  assert.deepEqual(shown(chats), ["text 1"]);
  await pass(120);
  assert.deepEqual(shown(chats), ["text 1", "text 2"]);
  assert.equal(server.requests, 5);
  await pass(1_000);
  assert.equal(server.requests, 5);
});

test("a failed read is repeated in the same session", async () => {
  const { chats, server, socket } = await online();
  Object.assign(server, { away: true, messages: historyOf(1, 2) });
  socket.deliver({ gap: { since_ms: "0" } });
  await pass(3);
  server.away = false;
  await pass(10);
  assert.deepEqual(shown(chats), ["text 1", "text 2"]);
  assert.equal(socket.closed, false);
});

test("a read that fails to the end is repeated in another session", async () => {
  const { server, socket } = await online();
  server.away = true;
  socket.deliver({ gap: { since_ms: "0" } });
  for (const seconds of [3, 10, 30]) await pass(seconds);
  assert.equal(socket.closed, false);
  await pass(120);
  assert.equal(socket.closed, true);
});

test("reading begins five minutes before the gap, or before the newest event if the server can't tell", async () => {
  const { sync, server, socket } = await online();
  const readSince = async (frame) => {
    server.changedSince.length = 0;
    socket.deliver(frame);
    await settle();
    return server.changedSince[0];
  };
  assert.equal(await readSince({ gap: {} }), timeOf(1 - 5)); // the newest of the list
  for (const seconds of [3, 10, 30, 120]) await pass(seconds);
  socket.deliver({ event: { event_id: idAt(20), message: wireMessage(20) } });
  await sync.sending.send(CHAT, "mine");
  const { send } = socket.sent.at(-1);
  socket.deliver({ accepted: { client_message_id: send.client_message_id, message_id: idAt(90), chat_id: CHAT } });
  assert.equal(await readSince({ gap: {} }), timeOf(20 - 5));
  for (const seconds of [3, 10, 30, 120]) await pass(seconds);
  assert.equal(await readSince({ gap: { since_ms: String(timeOf(18)) } }), timeOf(18 - 5));
});

test("a sent message is in the outbox until it is accepted, and then in the history", async () => {
  const { chats, sync, socket } = await online();
  await sync.sending.send(CHAT, "mine");
  assert.deepEqual(
    sync.sending.waiting(CHAT).map(({ body, state }) => [body, state]),
    [["mine", "pending"]],
  );
  const { send } = socket.sent.at(-1);
  socket.deliver({ accepted: { client_message_id: send.client_message_id, message_id: idAt(2), chat_id: CHAT } });
  assert.deepEqual(sync.sending.waiting(CHAT), []);
  assert.deepEqual(shown(chats), ["text 1", "mine"]);
});

test("a message of another is delivered at once, read when it was seen, and both are sent together", async () => {
  const { chats, sync, socket } = await online();
  const arrived = [];
  sync.onArrived = ({ body }) => arrived.push(body);
  await pass(1);
  socket.deliver({ event: { event_id: idAt(2), message: wireMessage(2) } });
  assert.deepEqual([arrived, chats.of(CHAT).unread], [["text 2"], 1]);
  sync.sending.markRead(CHAT, idAt(2));
  assert.equal(chats.of(CHAT).unread, 0);
  socket.sent.length = 0;
  await pass(1);
  assert.deepEqual(socket.sent, [{ receipt: { chat_id: CHAT, delivered_up_to: idAt(2), read_up_to: idAt(2) } }]);
});

test("a reaction is shown at once, and undone when the server refuses it", async () => {
  const { chats, sync, socket } = await online();
  const [message] = chats.conversations.of(CHAT).messages;
  const tallies = () => chats.conversations.of(CHAT).messages[0].reactions.map(({ emoji }) => emoji);
  sync.sending.toggleReaction(message, "🔥");
  assert.deepEqual(tallies(), ["🔥"]);
  socket.deliver({ refused: { frame: String(socket.sent.length), code: "forbidden", message: "No" } });
  assert.deepEqual(tallies(), []);
});

test("a chat shows its failed message, else its draft, else the message that waits", async () => {
  const { sync, socket } = await online();
  const { sending } = sync;
  const shown = () => Object.values(sending.unsent().get(CHAT) ?? {}).join(" ");
  await sending.send(CHAT, "one");
  assert.equal(shown(), "pending one");
  sending.drafts.keep(CHAT, " two ");
  assert.equal(shown(), "draft two");
  const { client_message_id } = socket.sent.at(-1).send;
  socket.deliver({ refused: { client_message_id, code: "forbidden", message: "No" } });
  await sending.send(CHAT, "three");
  assert.equal(shown(), "failed one");
  sending.discard({ client_message_id });
  sending.drafts.keep(CHAT, " ");
  assert.equal(shown(), "pending three");
});

test("others are told of writing unless the person hides it", async () => {
  const { sync, socket } = await online();
  sync.sending.isTypingShown = () => false;
  sync.sending.writing(CHAT);
  assert.ok(!socket.sent.some(({ typing }) => typing));
  sync.sending.isTypingShown = () => true;
  sync.sending.writing(CHAT);
  assert.deepEqual(socket.sent.at(-1), { typing: { chat_id: CHAT } });
});
