// The marks of the members of the open group: read with it and after a gap, and live in between. Time is mocked.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { marksOf } from "../../../web/kinds/marked.js";
import { GroupMarks } from "../../../web/stores/group-marks.js";
import { ADA, idAt, MIRA, settle, wireMessage } from "./fakes.js";
import { online, pass, timeOf } from "./online.js";

const TEAM = "g-5";

beforeEach(() => mock.timers.enable({ apis: ["setTimeout", "Date"] }));
afterEach(() => mock.timers.reset());

/** A client that has opened a group, and the requests that it made since. */
async function inGroup(about = {}) {
  const client = await online();
  const { api, chats, socket } = client;
  const requests = [];
  const members = [ADA, MIRA].map((user_id) => ({ user_id, role: "ROLE_MEMBER", spans: [{ first: idAt(2) }] }));
  const server = { marks: [{ user_id: MIRA, delivered_up_to: idAt(3), read_up_to: idAt(2) }], isAway: false };
  api.members = async () => ({ members, version: "1" });
  api.signedIn = async (method, path) => {
    requests.push(`${method} ${path}`);
    if (server.isAway) throw new TypeError("away");
    return { marks: server.marks };
  };
  const control = { version: "1", settings: { name: "Team" }, members, ...about };
  socket.deliver({ event: { event_id: idAt(2), message: { ...wireMessage(2), chat_id: TEAM, text: undefined, control } } });
  const marks = new GroupMarks({ api, chats, sync: client.sync }, TEAM);
  await settle();
  return { ...client, marks, requests, server };
}

/** The minutes up to which Mira has received and read the group. */
const marked = ({ chats }) => Object.values(marksOf(chats.of(TEAM), MIRA)).map((id) => [0, 1, 2, 3, 4, 5, 6].find((at) => idAt(at) === id));

const deliver = ({ socket }, minute, chat_id = TEAM) => {
  const read_up_to = idAt(minute);
  socket.deliver({ event: { group_marks: { chat_id, marks: [{ user_id: MIRA, read_up_to }] } } });
};

test("the marks are read with the group, and rise with each event of it until it is closed", async () => {
  const client = await inGroup();
  assert.deepEqual(client.requests, ["GET /v1/chats/g-5/marks"]);
  assert.deepEqual(marked(client), [3, 2]);
  assert.deepEqual(client.chats.rosters.of(TEAM).members.length, 2);
  deliver(client, 4);
  deliver(client, 3);
  deliver(client, 5, "g-6");
  assert.deepEqual(marked(client), [4, 4]);
  client.marks.stop();
  deliver(client, 6);
  assert.deepEqual(marked(client), [4, 4]);
});

test("the marks are read again after a gap and in each new session, since signals may be lost", async () => {
  const client = await inGroup();
  const { socket, requests, server } = client;
  requests.length = 0;
  server.marks = [{ user_id: MIRA, read_up_to: idAt(5) }];
  socket.deliver({ gap: { at_ms: String(timeOf(8)) } });
  await pass(1);
  assert.deepEqual([requests.splice(0).length, marked(client)], [1, [5, 5]]);

  server.isAway = true;
  socket.deliver({ gap: {} });
  await pass(60);
  assert.equal(requests.splice(0).length, 1, "no request follows a failed one");
  server.isAway = false;
  socket.onclose({});
  await pass(30);
  const next = client.sockets.at(-1);
  next.onopen();
  next.deliver({ welcome: { heartbeat_interval_ms: 1e9 } });
  await pass(1);
  assert.equal(requests.length, 1);
});

test("no marks are read of a channel, of a large group, or by a user who hides their own", async () => {
  for (const about of [{ settings: { name: "News", is_channel: true } }, { member_count: 101 }]) {
    const { requests } = await inGroup(about);
    assert.deepEqual(requests, []);
  }
  const client = await inGroup();
  client.requests.length = 0;
  client.chats.me = { ...client.chats.me, shows_read_marks: false };
  client.chats.changed();
  await settle();
  assert.deepEqual(client.requests, []);
  client.chats.me = { ...client.chats.me, shows_read_marks: true };
  client.chats.changed();
  await settle();
  assert.deepEqual(client.requests.length, 1);
});
