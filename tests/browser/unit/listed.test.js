// Lists of messages, such as pinned ones, histories of edits, and chats that are marked as unread.

import assert from "node:assert/strict";
import { test } from "node:test";
import { listedIn, signText } from "../../../web/components/listed.js";
import { textOf } from "../../../web/kinds/edited.js";
import { LISTED_KINDS } from "../../../web/kinds/listed.js";
import { texts } from "../../../web/languages/language.js";
import { MAX_LISTED } from "../../../web/listed.js";
import { fromHistory, fromWire } from "../../../web/messages.js";
import { Chats } from "../../../web/stores/chats.js";
import { Kept } from "../../../web/stores/kept.js";
import { Sending } from "../../../web/stores/sending.js";
import { ADA, changeAt, CHAT, fakeDatabase, FakeDocument, historyOf, idAt, MIRA, settle, wireMessage } from "./fakes.js";

const having = (kind, minutes, target, set = true, actor_id = ADA) => changeAt(minutes, target, { [kind]: { set } }, actor_id);
const pinned = (minutes, target) => having("pinned", minutes, target, true, MIRA);
const edited = (minutes, target, body) => changeAt(minutes, target, { edited: { text: { body } } }, MIRA);

/** The stores of a user; `sent` has the changes that were sent, each with a function that answers it. */
function newApp(server) {
  const api = { messages: async () => ({}), profiles: async () => ({ profiles: [] }), ...server };
  const chats = new Chats(api, { user_id: ADA, name: "ada", display_name: "Ada" });
  const sent = [];
  const line = { send: (frame, answered) => (sent.push({ ...frame.change, answered }), true) };
  const sending = new Sending(chats, new Kept(fakeDatabase()), line);
  return { chats, sending, sent, shown: (kind = "pinned") => listedIn({ chats, sending }, CHAT, kind).map(textOf) };
}

const page = (kind, minutes, has_older = false) => ({
  has_older,
  messages: minutes.map((minute) => ({ message: wireMessage(minute), changes: [having(kind, minute + 50, minute)] })),
});

for (const kind of LISTED_KINDS) {
  test(`the ${kind} messages are loaded page by page, and follow changes, edits and deletions`, async () => {
    const requests = [];
    const { chats, shown } = newApp({
      messagesHaving: async (_, asked, before_id) => {
        requests.push([asked, before_id]);
        return before_id ? page(kind, [1]) : page(kind, [2, 3], true);
      },
      messages: async () => ({ messages: historyOf(7) }),
    });
    const list = chats.listed[kind];
    await list.load(CHAT);
    assert.deepEqual([shown(kind), list.of(CHAT).hasOlder], [["text 3", "text 2"], true]);
    await list.loadOlder(CHAT);
    assert.deepEqual([shown(kind), list.of(CHAT).hasOlder], [["text 3", "text 2", "text 1"], false]);
    assert.deepEqual(requests, [[kind, ""], [kind, idAt(2)]]);
    const deleted = changeAt(62, 3, { deleted: {} });
    for (const event of [edited(60, 2, "better"), having(kind, 61, 1, false), deleted, having(kind, 63, 7)])
      chats.change(event);
    shown(kind); // requests the message that has just got the change
    await settle();
    assert.deepEqual(shown(kind), ["text 7", "better"]);
  });

  test(`a ${kind} message that the archive does not list yet is not lost, and the bound ends the pages`, async () => {
    const all = Array.from({ length: MAX_LISTED }, (_, at) => at + 1);
    const { chats, shown } = newApp({ messagesHaving: async () => page(kind, all, true) });
    chats.add(fromWire(wireMessage(900)));
    chats.change(having(kind, 901, 900));
    await chats.listed[kind].load(CHAT);
    assert.equal(chats.listed[kind].of(CHAT).hasOlder, false);
    assert.equal(shown(kind).length, MAX_LISTED + 1);
  });

  test(`${kind} messages of which the browser has copies are known without a connection`, () => {
    const { chats, shown } = newApp();
    const messages = page(kind, [1]).messages.map(fromHistory);
    chats.restore([{ chat: { ...chats.of(CHAT), newest: messages[0] }, messages, profiles: [], complete_up_to: "0" }]);
    assert.deepEqual(shown(kind), ["text 1"]);
  });

  test(`the user's own ${kind} is shown before it is accepted, and without a trace if it is refused`, async () => {
    const { chats, sending, sent, shown } = newApp({ messagesHaving: async () => page(kind, []) });
    chats.conversations.enter(CHAT);
    chats.conversations.add(fromWire(wireMessage(1)));
    const message = () => sending.shown(chats.conversations.find(CHAT, idAt(1)));
    sending.set(message(), kind, true);
    assert.deepEqual([shown(kind), message().isChanging], [["text 1"], false]);
    assert.equal(signText({ chats }, message(), kind), texts.listed[kind].byYou);
    assert.deepEqual(sent[0][kind], { set: true });
    sent[0].answered({ refused: { code: "not_found" } });
    assert.deepEqual([shown(kind), signText({ chats }, message(), kind)], [[], ""]);
  });
}

test("the pins are loaded with their chat, and a load that failed is repeated when the connection is back", async () => {
  let isAway = true;
  const requests = [];
  const { chats, shown } = newApp({
    messagesHaving: async (_, kind, before_id) => {
      requests.push(before_id);
      return isAway ? Promise.reject(new Error("away")) : page(kind, [1]);
    },
  });
  chats.open(CHAT);
  await settle();
  assert.equal(chats.listed.pinned.of(CHAT).phase, "failed");
  isAway = false;
  await chats.openAgain();
  await settle();
  assert.deepEqual(shown(), ["text 1"]);
  isAway = true;
  await chats.listed.pinned.load(CHAT);
  await chats.listed.pinned.loadOlder(CHAT);
  assert.deepEqual(requests, ["", "", "", ""]);
});

test("a pin names its author", () => {
  const { chats } = newApp();
  const message = fromHistory({ message: wireMessage(1), changes: [pinned(5, 1)] });
  assert.equal(signText({ chats }, message, "pinned"), "Pinned");
  chats.profiles.put([{ user_id: MIRA, name: "mira", display_name: "Mira" }]);
  assert.equal(signText({ chats }, message, "pinned"), "Pinned by Mira");
});

test("the versions of a message end with its text as it was sent, and contain an edit that history lacks yet", async () => {
  Object.assign(globalThis, { document: new FakeDocument() });
  const { versionsOf } = await import("../../../web/components/edits-dialog.js");
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
  const app = { ...newApp(), api: { signedIn: async () => answers.shift() } };
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

test("a page that was read before a deletion does not show the message again", async () => {
  const answers = [];
  const { chats, shown } = newApp({
    messagesHaving: () => new Promise((resolve) => answers.push(() => resolve(page("pinned", [2, 3])))),
  });
  const list = chats.listed.pinned;
  const first = list.load(CHAT);
  answers.shift()();
  await first;
  const again = list.load(CHAT);
  chats.quotes.change(changeAt(62, 3, { deleted: {} }));
  answers.shift()?.();
  await again;
  assert.deepEqual(shown(), ["text 2"]);
});
