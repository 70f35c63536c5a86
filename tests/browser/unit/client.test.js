// Catching up of a client that missed events: its reads and their times. Time is mocked.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { Client } from "../../../web/client.js";
import { ADA, CHAT, FakeSocket, fakeStorage, historyOf, settle } from "./fakes.js";

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
  const server = { messages: historyOf(1), away: false, requests: 0 };
  const api = {
    accessToken: async () => "token",
    gateway: async () => ({ websocket: "ws://here/session" }),
    me: async () => ({ user_id: ADA, name: "ada" }),
    profiles: async () => ({ profiles: [] }),
    chats: async () => ({}),
    messages: async () => {
      server.requests++;
      if (server.away) throw new Error("away");
      return { messages: server.messages };
    },
  };
  const client = new Client(api, { user_id: ADA, name: "ada" }, fakeStorage());
  client.openChat = CHAT;
  client.start();
  await settle();
  sockets[0].onopen();
  sockets[0].deliver({ welcome: { heartbeat_interval_ms: 1e9 } });
  await client.conversations.open(CHAT);
  server.requests = 0;
  return { client, server, socket: sockets[0] };
}

/** Advances the mocked time. */
async function pass(seconds) {
  await settle();
  mock.timers.tick(seconds * 1_000);
  await settle();
}

const shown = (client) => client.messages(CHAT).map(({ body }) => body);

test("missed messages are read at once", async () => {
  const { client, server, socket } = await online();
  server.messages = historyOf(1, 2);
  socket.deliver({ gap: { since_ms: "0" } });
  await settle();
  assert.deepEqual(shown(client), ["text 1", "text 2"]);
});

test("a message that the archive records minutes later is found, and then reading ends", async () => {
  const { client, server, socket } = await online();
  socket.deliver({ gap: { since_ms: "0" } });
  for (const seconds of [3, 10, 30]) await pass(seconds);
  server.messages = historyOf(1, 2);
  assert.deepEqual(shown(client), ["text 1"]);
  await pass(120);
  assert.deepEqual(shown(client), ["text 1", "text 2"]);
  assert.equal(server.requests, 5);
  await pass(1_000);
  assert.equal(server.requests, 5);
});

test("a failed read is repeated in the same session", async () => {
  const { client, server, socket } = await online();
  Object.assign(server, { away: true, messages: historyOf(1, 2) });
  socket.deliver({ gap: { since_ms: "0" } });
  await pass(3);
  server.away = false;
  await pass(10);
  assert.deepEqual(shown(client), ["text 1", "text 2"]);
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
