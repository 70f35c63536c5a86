// Pinned messages, histories of edits, and chats that are marked as unread.

import assert from "node:assert/strict";
import { test } from "node:test";
import { pinnedBy, pinnedIn } from "../../../web/components/pinned.js";
import { textOf, versionsOf } from "../../../web/kinds/edited.js";
import { texts } from "../../../web/languages/language.js";
import { fromHistory, fromWire } from "../../../web/messages.js";
import { MAX_PINS } from "../../../web/pins.js";
import { Chats } from "../../../web/stores/chats.js";
import { Kept } from "../../../web/stores/kept.js";
import { Sending } from "../../../web/stores/sending.js";
import { ADA, changeAt, CHAT, fakeDatabase, FakeDocument, historyOf, idAt, MIRA, settle, wireMessage } from "./fakes.js";

const pinned = (minutes, target, set = true, actor_id = MIRA) => changeAt(minutes, target, { pinned: { set } }, actor_id);
const edited = (minutes, target, body) => changeAt(minutes, target, { edited: { text: { body } } }, MIRA);

/** The stores of a user; `sent` has the changes that were sent, each with a function that answers it. */
function newApp(server) {
  const api = { messages: async () => ({}), profiles: async () => ({ profiles: [] }), ...server };
  const chats = new Chats(api, { user_id: ADA, name: "ada", display_name: "Ada" });
  const sent = [];
  const line = { send: (frame, answered) => (sent.push({ ...frame.change, answered }), true) };
  const sending = new Sending(chats, new Kept(fakeDatabase()), line);
  return { chats, sending, sent, shown: () => pinnedIn({ chats, sending }, CHAT).map(textOf) };
}

const page = (pins, has_older = false) => ({
  has_older,
  messages: pins.map((minute) => ({ message: wireMessage(minute), changes: [pinned(minute + 50, minute)] })),
});

test("pins are loaded page by page, and follow pins, edits and deletions", async () => {
  const requests = [];
  const app = newApp({
    messagesHaving: async (_, kind, before_id) => (requests.push([kind, before_id]), before_id ? page([1]) : page([2, 3], true)),
    messages: async () => ({ messages: historyOf(7) }),
  });
  const { chats, shown } = app;
  chats.open(CHAT);
  await settle();
  assert.deepEqual(shown(), ["text 3", "text 2"]);
  assert.equal(chats.pins.of(CHAT).hasOlder, true);
  await chats.pins.loadOlder(CHAT);
  assert.deepEqual([shown(), chats.pins.of(CHAT).hasOlder], [["text 3", "text 2", "text 1"], false]);
  assert.deepEqual(requests, [["pinned", ""], ["pinned", idAt(2)]]);
  for (const event of [edited(60, 2, "better"), pinned(61, 1, false), changeAt(62, 3, { deleted: {} }), pinned(63, 7)])
    chats.change(event);
  shown(); // requests the message that was pinned
  await settle();
  assert.deepEqual(shown(), ["text 7", "better"]);
});

test("a pin that the archive does not have yet is not lost, and the bound of the list ends the pages", async () => {
  const all = Array.from({ length: MAX_PINS }, (_, at) => at + 1);
  const { chats, shown } = newApp({ messagesHaving: async () => page(all, true) });
  chats.add(fromWire(wireMessage(900)));
  chats.change(pinned(901, 900));
  await chats.pins.load(CHAT);
  assert.equal(chats.pins.of(CHAT).hasOlder, false);
  assert.equal(shown().length, MAX_PINS + 1);
});

test("pinned messages of which the browser has copies are known without a connection", () => {
  const { chats, shown } = newApp();
  const messages = page([1]).messages.map(fromHistory);
  chats.restore([{ chat: { ...chats.of(CHAT), newest: messages[0] }, messages, complete_up_to: "0" }]);
  assert.deepEqual(shown(), ["text 1"]);
});

test("a load that failed is repeated when the connection is back", async () => {
  let isAway = true;
  const { chats, shown } = newApp({ messagesHaving: async () => (isAway ? Promise.reject(new Error("away")) : page([1])) });
  chats.open(CHAT);
  await settle();
  assert.equal(chats.pins.of(CHAT).phase, "failed");
  isAway = false;
  await chats.openAgain();
  await settle();
  assert.deepEqual(shown(), ["text 1"]);
});

test("the user's own pin is shown before it is accepted, without a trace if it is refused, and with its author", async () => {
  const { chats, sending, sent, shown } = newApp({ messagesHaving: async () => page([]) });
  chats.open(CHAT);
  await settle();
  chats.conversations.add(fromWire(wireMessage(1)));
  const message = () => sending.shown(chats.conversations.find(CHAT, idAt(1)));
  sending.pin(message(), true);
  assert.deepEqual([shown(), message().isChanging], [["text 1"], false]);
  assert.equal(pinnedBy({ chats }, message()), texts.pins.byYou);
  assert.deepEqual(sent[0].pinned, { set: true });
  sent[0].answered({ refused: { code: "not_found" } });
  assert.deepEqual([shown(), pinnedBy({ chats }, message())], [[], ""]);
  chats.change(pinned(5, 1));
  assert.deepEqual([shown(), pinnedBy({ chats }, message())], [["text 1"], texts.message.pinned]);
  chats.profiles.put([{ user_id: MIRA, name: "mira", display_name: "Mira" }]);
  assert.equal(pinnedBy({ chats }, message()), "Pinned by Mira");
});

test("the versions of a message end with its text as it was sent, and contain an edit that history lacks yet", () => {
  const message = fromHistory({ message: wireMessage(1), changes: [edited(4, 1, "three"), pinned(5, 1)] });
  const versions = (edits) => versionsOf(message, edits).map(textOf);
  assert.deepEqual(versions([edited(2, 1, "one"), edited(3, 1, "two")]), ["three", "two", "one", "text 1"]);
  assert.deepEqual(versions([edited(2, 1, "one"), edited(4, 1, "three")]), ["three", "one", "text 1"]);
  assert.deepEqual(versionsOf(message, []).map(({ at_ms }) => at_ms - message.at_ms), [3 * 60_000, 0]);
});

test("the history of edits is loaded again after a failure, states its bound, and follows the deletion", async () => {
  Object.assign(globalThis, { document: new FakeDocument(), requestAnimationFrame: (work) => work() });
  const { EditsDialog } = await import("../../../web/components/edits-dialog.js");
  const edits = Array.from({ length: 100 }, (_, at) => edited(at + 2, 1, `text **${at}**`));
  const answers = [Promise.reject(new Error("away")), { changes: edits }];
  const app = { ...newApp(), api: { versions: async () => answers.shift() } };
  app.chats.add(fromHistory({ message: wireMessage(1), changes: edits.slice(-1) }));
  const dialog = new EditsDialog(app, app.chats.conversations.find(CHAT, idAt(1)));
  dialog.root.render();
  assert.match(dialog.element.markup, /Loading/);
  await settle();
  assert.match(dialog.element.markup, /could not be loaded/);
  dialog.element.childNodes[1].childNodes[1].dispatch("click");
  await settle();
  const versions = dialog.element.markup.match(/<li.*?<.li>/g);
  assert.match(dialog.element.markup, /Only the newest 100 edits are shown/);
  assert.deepEqual([versions.length, /text <strong>99</.test(versions[0]), /As it was sent.*text 1/.test(versions[100])], [101, true, true]);
  app.chats.change(changeAt(200, 1, { deleted: {} }, MIRA));
  assert.match(dialog.element.markup, /This message was deleted/);
});

test("a chat marked as unread is unread until it is opened, on all devices, and read as a whole if asked", () => {
  const { chats, sending, sent } = newApp();
  const isUnread = () => sending.isUnread(chats.of(CHAT));
  const marked = (minutes, set, actor_id) => changeAt(minutes, 0, { marked_unread: { set } }, actor_id);
  sending.removeUnreadMark(CHAT);
  assert.deepEqual([isUnread(), sent.length], [false, 0]);
  sending.markUnread(CHAT);
  assert.equal(isUnread(), true);
  const { target_id, marked_unread, answered } = sent[0];
  assert.deepEqual([target_id, marked_unread], ["0", { set: true }]);
  answered({ accepted: { event_id: idAt(2) } });
  assert.equal(isUnread(), true);
  chats.change(marked(3, false));
  assert.equal(isUnread(), false);
  chats.change(marked(4, true));
  chats.change(marked(5, false, MIRA));
  chats.add(fromWire(wireMessage(1)));
  assert.equal(isUnread(), true);
  sending.readAll(CHAT);
  assert.deepEqual([isUnread(), sent[1].marked_unread], [false, { set: false }]);
  assert.equal(chats.of(CHAT).unread, 0);
});
