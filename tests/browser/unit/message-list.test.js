// The messages of the open chat on the page: which of them are marked as read, and where links and quotes lead. Time is
// mocked.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { marksOf } from "../../../web/kinds/marked.js";
import { Root } from "../../../web/view.js";
import { ADA, changeAt, CHAT, idAt, MIRA, nodesIn, sentAt, settle, useLines } from "./fakes.js";
import { online, timeOf } from "./online.js";

beforeEach(() => mock.timers.enable({ apis: ["setTimeout", "Date"] }));
afterEach(() => {
  mock.timers.reset();
  delete globalThis.WebSocket;
});

/** The list of a chat's messages on a page with room for some of them; the user looks at it only when `look` is called. */
async function listed(context, rows, target = "") {
  const { document } = useLines(context, rows);
  const { MessageList } = await import("../../../web/components/message-list.js");
  const client = await online({ me: async () => ({ user_id: ADA, name: "ada", display_name: "" }) });
  const root = new Root(document.body, () => list.view(), () => {});
  const list = new MessageList({ ...client, sending: client.sync.sending, root }, CHAT, target, { isBlocked: () => false });
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
  const find = (isFound) => nodesIn(document.body).filter((node) => node.tagName && isFound(node));
  return { ...client, document, find, list, look, receive, unread };
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

test("a control change about the user is read once it is on the screen, without unread messages above it", async (context) => {
  const { chats, look, receive } = await listed(context, 2);
  const changed = (minute, user_id, sender_id = MIRA) => {
    const [event] = from(sender_id, minute);
    const control = { version: String(minute), members: [{ user_id, role: "ROLE_ADMIN" }] };
    return { ...event, message: { ...event.message, text: undefined, control } };
  };
  const mark = () => marksOf(chats.of(CHAT), ADA).read_up_to;
  await receive(changed(2, ADA));
  assert.equal(mark(), idAt(1), "it is not on the screen");
  look();
  assert.equal(mark(), idAt(2));
  await receive(changed(3, "8"), changed(4, ADA, ADA));
  look();
  assert.equal(mark(), idAt(2), "about another user, or by the user");
  await receive(...from(MIRA, 5, 6), changed(7, ADA));
  look();
  assert.equal(mark(), idAt(2), "one unread message is above the view");
});

/** The text of the marked message; empty if none is marked. */
const marked = ({ find }) => find((node) => node.getAttribute("class")?.split(" ").includes("marked")).map((node) => node.textContent).join();

test("a link marks its message, and no other one if the chat does not show that", async (context) => {
  const page = await listed(context, 2, idAt(2));
  await page.receive(...from(MIRA, 3, 5, 6), ...hide(5));
  page.look();
  assert.deepEqual([marked(page), page.document.activeElement], ["", page.document.body], "a message that the user can't read");
  for (const [minute, expected] of [[5, ""], [6, "text 6"], [9, ""]]) {
    await page.list.goTo(idAt(minute));
    page.look();
    assert.match(marked(page), expected ? new RegExp(expected) : /^$/);
    assert.equal(page.document.activeElement.getAttribute("data-key") === `${MIRA}:c${minute}`, expected !== "");
    page.document.body.focus();
  }
});

test("a movement whose load has failed leads to its place when it is repeated", async (context) => {
  const page = await listed(context, 2);
  const { chats, history, list } = page;
  for (let minute = 2; minute <= 300; minute++) history.record(sentAt(minute));
  history.tooOld.add(CHAT);
  await chats.conversations.reload(CHAT);
  page.look();
  assert.equal(chats.conversations.find(CHAT, idAt(100)), undefined);
  history.isAway = true;
  await list.goTo(idAt(100));
  assert.equal(chats.conversations.of(CHAT).phase, "failed");
  page.look();
  history.isAway = false;
  await chats.openAgain();
  page.look();
  assert.match(marked(page), /text 100$/);
  history.isAway = true;
  await list.toBottom();
  history.isAway = false;
  await chats.openAgain();
  assert.equal(chats.conversations.of(CHAT).messages.at(-1).message_id, idAt(300));
});

test("a date marks the first message from it on", async (context) => {
  const page = await listed(context, 2);
  await page.receive(...from(MIRA, 3, 5, 6), ...hide(5));
  await page.list.goToTime(timeOf(4));
  page.look();
  assert.match(marked(page), /text 6/);
});

test("a quote leads to its message, unless the user has hidden it or can't read it", async (context) => {
  const page = await listed(context, 2);
  const reply = ([event], target) => ({ ...event, message: { ...event.message, reply_to: idAt(target) } });
  await page.receive(...from(MIRA, 3, 4), reply(from(MIRA, 5), 2), reply(from(MIRA, 6), 3), reply(from(MIRA, 7), 4), ...hide(3));
  page.look();
  await settle();
  page.look();
  const quotes = page.find((node) => node.getAttribute("class") === "quote");
  assert.deepEqual(quotes.map(({ tagName }) => tagName), ["div", "div", "button"]);
});

test("a movement that ends, or begins, after the user has left the chat does not open it again", async (context) => {
  const { chats, list } = await listed(context, 2);
  chats.open("d-9-11");
  list.stop();
  for (const move of [() => list.toBottom(), () => list.goTo(idAt(1)), () => list.goToTime(timeOf(1))]) {
    await move();
    assert.equal(chats.openChat, "d-9-11");
  }
});
