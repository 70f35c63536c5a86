// The stores with a session: frames in and out, and catching up after missed events. Time is mocked.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { timeOfId } from "../../../web/ids.js";
import { textOf } from "../../../web/kinds/edited.js";
import { marksOf } from "../../../web/kinds/marked.js";
import { reactionsOf } from "../../../web/kinds/reacted.js";
import { Chats } from "../../../web/stores/chats.js";
import { Kept } from "../../../web/stores/kept.js";
import { Sync } from "../../../web/stores/sync.js";
import { ADA, changeAt, CHAT, fakeDatabase, FakeSocket, historyOf, idAt, markAt, MIRA, settle, wireMessage } from "./fakes.js";

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

    /** Accepts marks at once. */
    send(text) {
      super.send(text);
      const frame = String(this.sent.length);
      if (JSON.parse(text).change?.marked) setTimeout(() => this.deliver({ accepted: { frame } }), 1);
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
      const marks = [{ user_id: ADA, read_up_to: idAt(1) }];
      return { chats: [{ chat_id: CHAT, newest: historyOf(server.newest)[0], marks, changed_at_ms: String(timeOf(1)) }] };
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
  return { chats, sync, server, sockets, socket: sockets[0] };
}

const timeOf = (minute) => timeOfId(idAt(minute));

/** Advances the mocked time. */
async function pass(seconds) {
  await settle();
  mock.timers.tick(seconds * 1_000);
  await settle();
}

/** Answers the last frame. */
const accept = (socket, minutes) =>
  socket.deliver({ accepted: { frame: String(socket.sent.length), event_id: idAt(minutes), chat_id: CHAT } });
const refuse = (socket, refused) => socket.deliver({ refused: { frame: String(socket.sent.length), ...refused } });

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
  accept(socket, 90);
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
  accept(socket, 2);
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
  const marked = { delivered_up_to: idAt(2), read_up_to: idAt(2) };
  assert.deepEqual(socket.sent, [{ change: { chat_id: CHAT, marked } }]);
});

/** The first message as it is shown. */
function firstShown({ chats, sync }) {
  const message = sync.sending.shown(chats.conversations.of(CHAT).messages[0]);
  return [textOf(message), ...reactionsOf(message).map(({ emoji, user_ids }) => `${emoji} ${user_ids.length}`)].join(", ");
}

test("a change is shown at once, stays when it is accepted, and is sent again in the next session until then", async () => {
  const client = await online();
  const { chats, sync, socket } = client;
  await pass(1);
  sync.sending.toggleReaction(chats.conversations.of(CHAT).messages[0], "🔥");
  assert.equal(firstShown(client), "text 1, 🔥 1");
  const { change, first_sent_ms_ago } = socket.sent.at(-1);
  const { client_change_id } = change;
  assert.deepEqual(change, { chat_id: CHAT, target_id: idAt(1), client_change_id, reacted: { emoji: "🔥", set: true } });
  assert.equal(first_sent_ms_ago, 0);
  sync.session.restart();
  await pass(2);
  const again = client.sockets.at(-1);
  again.onopen();
  again.deliver({ welcome: { heartbeat_interval_ms: 1e9 } });
  const { change: second, first_sent_ms_ago: ago_ms } = again.sent.find((frame) => frame.change?.reacted);
  assert.deepEqual([second.client_change_id, ago_ms > 0], [client_change_id, true]);
  again.deliver({ accepted: { frame: String(again.sent.findIndex((frame) => frame.change?.reacted) + 1), event_id: idAt(3) } });
  assert.equal(sync.sending.changes.size, 0);
  assert.equal(firstShown(client), "text 1, 🔥 1");
});

test("a refused change is undone with a sentence, and a refused edit is the person's to edit further", async () => {
  const client = await online();
  const { chats, sync, socket } = client;
  const refusals = [];
  sync.sending.onRefused = (change, { code }) => refusals.push([Object.keys(change).at(-1), code]);
  sync.sending.toggleReaction(chats.conversations.of(CHAT).messages[0], "🔥");
  refuse(socket, { code: "not_found" });
  sync.sending.edit(CHAT, idAt(1), { body: "better" });
  assert.equal(firstShown(client), "better");
  refuse(socket, { code: "forbidden" });
  assert.equal(firstShown(client), "text 1");
  assert.deepEqual(sync.sending.drafts.get(CHAT).editing, { message_id: idAt(1), text: "better" });
  assert.deepEqual(refusals.map(([, code]) => code), ["not_found", "forbidden"]);
});

test("changes of others, and of the user's other devices, arrive as events", async () => {
  const client = await online();
  const { chats, socket } = client;
  socket.deliver({ event: changeAt(3, 1, { edited: { text: { body: "better" } } }, MIRA) });
  socket.deliver({ event: changeAt(4, 1, { reacted: { emoji: "👍", set: true } }) });
  socket.deliver({ event: markAt(5, MIRA, { read_up_to: idAt(1) }) });
  assert.equal(firstShown(client), "better, 👍 1");
  assert.equal(marksOf(chats.of(CHAT), MIRA).read_up_to, idAt(1));
});

test("a chat shows its failed message, else its draft, else the message that waits", async () => {
  const { sync, socket } = await online();
  const { sending } = sync;
  const shown = () => Object.values(sending.unsent().get(CHAT) ?? {}).join(" ");
  await sending.send(CHAT, "one");
  assert.equal(shown(), "pending one");
  sending.drafts.keep(CHAT, { text: " two " });
  assert.equal(shown(), "draft two");
  const { client_message_id } = socket.sent.at(-1).send;
  refuse(socket, { code: "forbidden", message: "No" });
  await sending.send(CHAT, "three");
  assert.equal(shown(), "failed one");
  sending.discard({ client_message_id });
  sending.drafts.keep(CHAT, { text: " " });
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
