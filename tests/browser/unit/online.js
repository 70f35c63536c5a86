// A client with a session over a fake socket, and a server's history. Time is mocked: call `mock.timers.enable` first.

import { afterEach, mock } from "node:test";
import { timeOfId } from "../../../web/ids.js";
import { Chats } from "../../../web/stores/chats.js";
import { Kept } from "../../../web/stores/kept.js";
import { Recent } from "../../../web/stores/recent.js";
import { Sync } from "../../../web/stores/sync.js";
import { ADA, CHAT, fakeCopies, fakeDatabase, FakeHistory, FakeSocket, idAt, sentAt, settle } from "./fakes.js";

/** The clients of the current test. @type {Sync[]} */
const clients = [];

// A module that a client still loads would go on with it in real time, and keep the process running.
afterEach(() => {
  for (const { session } of clients.splice(0)) session.end();
});

const ME = async () => ({ user_id: ADA, name: "ada" });

/**
 * A client that is online in a chat whose history has one message, unless `isReloaded`. `meBefore` returns its user before
 * the session begins.
 */
export async function online({ history = new FakeHistory(), copies = fakeCopies(), minute = 0, replayed = 0, me = ME, meBefore = me, isReloaded = false } = {}) {
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
  if (!isReloaded) {
    history.record(sentAt(1));
    history.marks = [{ user_id: ADA, read_up_to: idAt(1) }];
  }
  const api = {
    chats: (query) => history.chats(query),
    messages: (chat_id, query) => history.messages(chat_id, query),
    chat: (chat_id) => history.chat(chat_id),
    changes: (chat_id, after) => history.changes(chat_id, after),
    accessToken: async () => "token",
    gateway: async () => ({ websocket: "ws://here/session" }),
    me: meBefore,
    profiles: async () => ({ profiles: [] }),
  };
  const chats = new Chats(api, { user_id: ADA, name: "ada", display_name: "" });
  const recent = new Recent(chats, Promise.resolve(copies), () => true);
  await recent.start();
  const sync = new Sync(api, chats, new Kept(fakeDatabase()));
  clients.push(sync);
  sync.start();
  chats.open(CHAT);
  await settle();
  api.me = me;
  sockets[0].onopen();
  sockets[0].deliver({ welcome: { heartbeat_interval_ms: 1e9, replayed, at_ms: minute ? String(timeOf(minute)) : "0" } });
  await settle();
  return { api, chats, sync, history, recent, sockets, socket: sockets[0] };
}

/** The server's time at a minute, in milliseconds since 1970. */
export const timeOf = (minute) => timeOfId(idAt(minute));

/** Advances the mocked time. */
export async function pass(seconds) {
  await settle();
  mock.timers.tick(seconds * 1_000);
  await settle();
}
