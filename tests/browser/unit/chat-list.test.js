// The list of chats: its further pages, in a filter and in the archive. Time is mocked.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { NoResponse, Problem } from "../../../web/api.js";
import { texts } from "../../../web/languages/language.js";
import { Root } from "../../../web/view.js";
import { ADA, FakeHistory, idAt, nodesIn, settle, useLines, wireMessage } from "./fakes.js";
import { online, pass } from "./online.js";

const PAGES = 6;

beforeEach(() => mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] }));
afterEach(() => {
  mock.timers.reset();
  delete globalThis.WebSocket;
});

/** A page with the list of a user's chats, which the server returns one by one; the list has never enough to scroll. */
async function listed(context, chatAt) {
  const { document } = useLines(context, 3);
  const { ChatList } = await import("../../../web/components/chat-list.js");
  const server = { isAway: false, requests: 0 };
  const history = new FakeHistory();
  history.chats = async ({ changed_since_ms, cursor }) => {
    if (changed_since_ms) return { chats: [] };
    server.requests++;
    if (server.isAway) throw new NoResponse();
    const at = Number(cursor || 0);
    const chat_id = `g-${at + 1}`;
    const wire = { chat_id, version: "1", settings: { name: `Group ${at}` }, newest: { message: { ...wireMessage(at + 1), chat_id } } };
    return { chats: [{ ...wire, ...chatAt(at) }], next_cursor: at + 1 < PAGES ? String(at + 1) : "" };
  };
  const client = await online({ history });
  client.chats.open("");
  const root = new Root(document.body, () => list.view(), () => {});
  const list = new ChatList({ ...client, sending: client.sync.sending, root });
  const render = async () => {
    for (let count = 0; count <= 2 * PAGES; count++) {
      root.render();
      await settle();
    }
  };
  const press = async (words) => {
    nodesIn(document.body).find((node) => node.tagName === "button" && node.textContent === words).click();
    await render();
  };
  const count = () => nodesIn(document.body).filter((node) => node.tagName && node.getAttribute("data-chat")?.startsWith("g-")).length;
  await render();
  const scroller = nodesIn(document.body).find((node) => node.tagName && node.getAttribute("class") === "scroller");
  return { ...client, server, scroller, render, press, count, has: (words) => document.body.textContent.includes(words) };
}

test("a group on a further page with an unsent text is listed, and read once a session for its name; one that does not exist is not", async (context) => {
  const { chats, count, has, history, render, socket, sync } = await listed(context, () => ({}));
  const [group, none] = ["g-77", "g-78"];
  let [isAway, requests] = [true, 0];
  history.chat = async (chat_id) => {
    requests++;
    if (isAway) throw new NoResponse();
    if (chat_id === none) throw new Problem(404, {});
    const own = { user_id: ADA, role: "ROLE_MEMBER" };
    return { chat_id, version: "1", settings: { name: "Far away" }, own, newest: { message: { ...wireMessage(0.5), chat_id } } };
  };
  const before = count();
  for (const chat_id of [group, none]) sync.sending.drafts.keep(chat_id, { text: "draft" });
  for (const begun of [1, 2]) {
    socket.deliver({ welcome: { heartbeat_interval_ms: 1e9 } });
    for (let second = 0; second < 3; second++) {
      await pass(1);
      await render();
    }
    assert.deepEqual([requests, count()], [2 * begun, before + (isAway ? 2 : 1)]);
    isAway = false;
  }
  assert.ok(has("Far away"));
  assert.deepEqual([chats.of(group).group?.settings.name, chats.isMissing(none)], ["Far away", true]);
});

test("a filter loads further pages until it has enough to scroll, or the list ends, whatever filter was chosen before", async (context) => {
  const { count, press, scroller, server } = await listed(context, (at) => ({ unread: at % 2 }));
  scroller.scrollHeight = 9 * scroller.clientHeight;
  await press(texts.chats.filters.groups);
  assert.deepEqual([server.requests, count()], [1, 1]);
  scroller.scrollHeight = scroller.clientHeight;
  await press(texts.chats.filters.unread);
  assert.deepEqual([server.requests, count()], [PAGES, PAGES / 2]);
});

test("a filter whose load has failed offers to try again, and goes on in the next session", async (context) => {
  const { count, has, press, render, server, socket, sockets } = await listed(context, (at) => ({ unread: Number(at > 3) }));
  server.isAway = true;
  await press(texts.chats.filters.unread);
  assert.deepEqual([server.requests, has(texts.chats.notLoaded)], [2, true]);
  await press(texts.tryAgain);
  assert.equal(server.requests, 3);
  server.isAway = false;
  socket.onclose({ code: 1006 });
  await pass(60);
  sockets.at(-1).onopen();
  sockets.at(-1).deliver({ welcome: { heartbeat_interval_ms: 1e9 } });
  await render();
  assert.deepEqual([server.requests, count(), has(texts.chats.notLoaded)], [3 + PAGES - 1, 2, false]);
});

test("a list without its archived chats loads further pages, and so does the archive", async (context) => {
  const archived = (chat_id) => ({ event_id: idAt(99), change: { chat_id, actor_id: ADA, archived: { set: true } } });
  const { count, press, server } = await listed(context, (at) => ({ changes: at < 3 ? [archived(`g-${at + 1}`)] : [] }));
  assert.deepEqual([server.requests, count()], [PAGES, PAGES - 3]);
  await press(texts.chats.archived);
  assert.equal(count(), 3);
});
