// The messages of the open chat on the page: which of them are marked as read. Time is mocked.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { Root } from "../../../web/view.js";
import { ADA, changeAt, CHAT, MIRA, sentAt, settle, useLines } from "./fakes.js";
import { online } from "./online.js";

beforeEach(() => mock.timers.enable({ apis: ["setTimeout", "Date"] }));
afterEach(() => {
  mock.timers.reset();
  delete globalThis.WebSocket;
});

/** The list of a chat's messages on a page with room for some of them; the user looks at it only when `look` is called. */
async function listed(context, rows) {
  const { document } = useLines(context, rows);
  const { MessageList } = await import("../../../web/components/message-list.js");
  const client = await online();
  const root = new Root(document.body, () => list.view(), () => {});
  const list = new MessageList({ ...client, sending: client.sync.sending, root }, CHAT, "", {});
  const unread = () => client.chats.of(CHAT).unread;
  const look = (isVisible = true) => {
    document.visibilityState = isVisible ? "visible" : "hidden";
    root.render();
    return unread();
  };
  const receive = async (...events) => {
    for (const event of events) client.socket.deliver({ event });
    await settle();
    look(false);
  };
  return { ...client, look, receive, unread };
}

const from = (sender_id, ...minutes) => minutes.map((minute) => sentAt(minute, { sender_id }));
const hide = (...targets) => targets.map((target) => changeAt(20 + target, target, { hidden: { set: true } }));

test("hidden messages are read with the shown ones around them, since the server counts them", async (context) => {
  const { look, receive, unread } = await listed(context, 2);
  await receive(...from(MIRA, 5, 6, 7), ...hide(7));
  assert.equal(unread(), 3);
  assert.equal(look(), 0);
  await receive(...from(MIRA, 8, 9), ...hide(8, 9));
  assert.equal(unread(), 2);
  assert.equal(look(), 0, "no shown message is unread");
  await receive(...from(MIRA, 10), ...from(ADA, 11), ...from(MIRA, 12), ...hide(10, 12));
  assert.equal(look(), 0, "beside an own message");
});

test("a message that the user hides is read at once, before the server has accepted that", async (context) => {
  const { chats, look, receive, sync } = await listed(context, 1);
  await receive(...from(MIRA, 5, 6));
  sync.sending.set(chats.conversations.find(CHAT, from(MIRA, 6)[0].event_id), "hidden", true);
  assert.equal(look(), 0);
});

test("hidden messages leave those unread that are out of view", async (context) => {
  const { look, receive } = await listed(context, 1);
  await receive(...from(MIRA, 5, 6, 7), ...hide(5));
  assert.equal(look(), 3, "one is above the view");
});

test("a chat whose messages are all hidden is read when it is opened", async (context) => {
  const { look, receive } = await listed(context, 1);
  await receive(...from(MIRA, 5), ...hide(1, 5));
  assert.equal(look(), 0);
});
