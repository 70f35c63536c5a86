// The stores with a session: frames in and out, and catching up after missed events. Time is mocked.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { PERMISSIONS } from "../../../web/groups.js";
import { timeOfId } from "../../../web/ids.js";
import { textOf } from "../../../web/kinds/edited.js";
import { marksOf } from "../../../web/kinds/marked.js";
import { FOR_EVER } from "../../../web/kinds/own.js";
import { reactionsOf } from "../../../web/kinds/reacted.js";
import { fromWire } from "../../../web/messages.js";
import {
  ADA,
  changeAt,
  CHAT,
  fakeCopies,
  FakeHistory,
  idAt,
  markAt,
  MIRA,
  sentAt,
  settle,
  wireMessage,
} from "./fakes.js";
import { online, pass, timeOf } from "./online.js";

beforeEach(() => mock.timers.enable({ apis: ["setTimeout", "Date"] }));
afterEach(() => {
  mock.timers.reset();
  delete globalThis.WebSocket;
});

/** Answers the last frame. */
const accept = (socket, minutes) =>
  socket.deliver({ accepted: { frame: String(socket.sent.length), event_id: idAt(minutes), chat_id: CHAT } });
const refuse = (socket, refused) => socket.deliver({ refused: { frame: String(socket.sent.length), ...refused } });

const shown = (chats, chat_id = CHAT) => chats.conversations.of(chat_id).messages.map(textOf);

/** A history with a message for each minute from the second one on. */
function historyUpTo(last) {
  const history = new FakeHistory();
  for (let minute = 2; minute <= last; minute++) history.record(sentAt(minute));
  return history;
}

const miss = (socket, minute) => socket.deliver({ gap: { at_ms: minute ? String(timeOf(minute)) : "0" } });
const edit = (minute, target, body) => changeAt(minute, target, { edited: { text: { body } } }, MIRA);
const OTHER = "d-8-11";
const sentTo = (chat_id, minute) => ({ event_id: idAt(minute), message: { ...wireMessage(minute), chat_id, sender_id: "8" } });

test("the users on the screen are watched in each session and after a gap; a changed profile is read again", async () => {
  const { chats, sync, sockets, socket } = await online({ replayed: 1 });
  const read = mock.method(chats.profiles, "refresh");
  chats.presence.watch("list", [MIRA]);
  await pass(1);
  assert.deepEqual(socket.sent.at(-1), { watch: { user_ids: [MIRA] } });
  const signal = (event, to = socket) => to.deliver({ event });
  signal({ presence: { user_id: MIRA, is_online: true } });
  assert.ok(chats.presence.isOnline(MIRA));
  assert.ok(sync.isReplaying, "a signal is not replayed");
  signal({ ...sentAt(1), position: {} });
  assert.ok(!sync.isReplaying);
  miss(socket, 0);
  await pass(1);
  assert.equal(socket.sent.filter(({ watch }) => watch).length, 2);
  signal({ profile_changed: { user_id: MIRA } });
  assert.deepEqual(read.mock.calls.map((call) => call.arguments), [[MIRA]]);
  signal({ profile_changed: { user_id: ADA } });
  await settle();
  assert.equal(read.mock.callCount(), 1, "the user's own is read with more fields");
  sync.session.restart();
  assert.equal(chats.presence.of(MIRA), undefined);
  await pass(2);
  sockets[1].onopen();
  sockets[1].deliver({ welcome: { replayed: 1, at_ms: "0" } });
  await pass(1);
  assert.deepEqual(sockets[1].sent.at(-1), { watch: { user_ids: [MIRA] } });
});

test("profiles that are shown are read again after a gap, and in a further session, once each", async () => {
  const { chats, sync, sockets, socket } = await online();
  const read = mock.method(chats.profiles, "refresh");
  chats.profiles.put([{ user_id: MIRA, name: "mira", display_name: "Mira" }, { user_id: "8", name: "grace", display_name: "Grace" }]);
  const show = () => [chats.titleOf(CHAT), chats.profiles.get(ADA)?.name, chats.titleOf(CHAT)];
  show();
  assert.equal(read.mock.callCount(), 0);
  miss(socket, 0);
  assert.deepEqual(show(), ["Mira", "ada", "Mira"]);
  sync.session.restart();
  await pass(2);
  sockets[1].onopen();
  sockets[1].deliver({ welcome: { replayed: 0, at_ms: "0" } });
  show();
  assert.deepEqual(read.mock.calls.map((call) => call.arguments), [[MIRA], [MIRA]]);
});

test("the user's own profile, which another device may have changed, is read again in each session and after a gap", async () => {
  const { chats, sync, api, sockets, socket } = await online();
  const change = (version) => (api.me = async () => ({ user_id: ADA, name: "ada", version }));
  change(2);
  miss(socket, 0);
  await settle();
  assert.equal(chats.me.version, 2);
  change(3);
  sync.session.restart();
  await pass(2);
  sockets[1].onopen();
  sockets[1].deliver({ welcome: { replayed: 0, at_ms: "0" } });
  await settle();
  assert.equal(chats.me.version, 3);
});

test("a page that was opened without a connection reads the user's own profile when it has one", async () => {
  const me = async () => ({ user_id: ADA, name: "ada", version: 2 });
  const { chats } = await online({ me, meBefore: async () => assert.fail("away") });
  assert.equal(chats.me.version, 2);
});

test("missed events are read at once, those between live ones too, and again until history is complete", async () => {
  const { chats, history, socket } = await online();
  history.requests.length = 0;
  history.complete = 2;
  socket.deliver({ event: sentAt(2) });
  history.record([sentAt(2), sentAt(3), edit(4, 1, "better")]);
  miss(socket, 5);
  socket.deliver({ event: sentAt(6) });
  await settle();
  assert.deepEqual(shown(chats), ["better", "text 2", "text 3", "text 6"]);
  assert.deepEqual(history.requests, ["chats", `changes ${CHAT}`]);
  history.record(sentAt(5));
  await pass(5);
  assert.deepEqual(shown(chats), ["better", "text 2", "text 3", "text 5", "text 6"]);
  history.complete = 5;
  await pass(10);
  history.requests.length = 0;
  await pass(100);
  assert.deepEqual(history.requests, []);
});

test("the list is read again a quarter of an hour later, at the next event, so that a gap after days costs little", async () => {
  const { chats, history, socket } = await online({ minute: 2 });
  history.complete = 2;
  await pass(60);
  const asked = [];
  const { chats: list } = history;
  history.chats = (query) => (asked.push(query.changed_since_ms), list(query));
  for (const minute of [10, 17, 18, 19, 30]) {
    history.record(sentAt(minute));
    history.complete = minute;
    socket.deliver({ event: sentAt(minute) });
    await pass(60);
  }
  assert.deepEqual(asked, [timeOf(2)], "at 18");
  assert.equal(timeOfId(chats.listed_up_to), timeOf(18));
  miss(socket, 31);
  await settle();
  assert.deepEqual(asked, [timeOf(2), timeOf(18)]);
});

test("while history makes no progress, or the server is away, it is read less and less often", async () => {
  const { chats, history, sockets, socket } = await online();
  history.isAway = true;
  miss(socket, 5);
  await settle();
  for (const seconds of [5, 10, 20, 30, 30]) {
    history.requests.length = 0;
    await pass(seconds - 1);
    assert.deepEqual(history.requests, []);
    await pass(1);
    assert.deepEqual(history.requests, ["chats"]);
  }
  Object.assign(history, { isAway: false, complete: 5 });
  history.record(sentAt(4));
  sockets[0].deliver({ welcome: {} });
  await settle();
  assert.deepEqual(shown(chats), ["text 1", "text 4"], "at once when the server is there again");
});

test("a second gap is closed like the first one, also while that is being closed", async () => {
  const { chats, history, socket } = await online();
  history.complete = 3;
  history.requests.length = 0;
  miss(socket, 3);
  miss(socket, 8);
  history.record(sentAt(7));
  await pass(0);
  assert.equal(history.requests.filter((request) => request === "chats").length, 2);
  assert.deepEqual(shown(chats), ["text 1", "text 7"]);
  history.complete = 8;
  await pass(10);
  history.requests.length = 0;
  await pass(100);
  assert.deepEqual(history.requests, []);
});

test("a late event is read, although its id is lower than those that were complete", async () => {
  const { chats, history, socket } = await online();
  history.record([sentAt(2), sentAt(9)]);
  history.complete = 9;
  miss(socket, 9);
  await pass(5);
  history.record([edit(4, 3, "late"), sentAt(3)], 12);
  Object.assign(history, { complete: 13 });
  miss(socket, 13);
  await settle();
  assert.deepEqual(shown(chats), ["text 1", "text 2", "late", "text 9"]);
});

test("a change to a message that is not in memory is dropped, unless its message may come later", async () => {
  const { chats, history, socket } = await online();
  history.complete = 2;
  miss(socket, 2);
  await settle();
  history.record([edit(3, 0.5, "of an older page"), edit(4, 5, "better")]);
  miss(socket, 4);
  await settle();
  socket.deliver({ event: sentAt(5) });
  assert.deepEqual(shown(chats), ["text 1", "better"]);
  assert.equal(textOf(chats.conversations.current(fromWire(wireMessage(0.5)))), "text 0.5");
});

test("a chat that moves to a page of the list that was read already is read too", async () => {
  const { chats, history, socket } = await online();
  history.record([sentAt(2), sentTo(OTHER, 3)]);
  history.complete = 4;
  const { chats: list } = history;
  history.chats = async (query) => {
    const page = await list(query);
    if (query.cursor) history.record(sentAt(5)); // now it is the newest chat
    const [older, newest] = page.chats;
    if (!newest) return page;
    return query.cursor ? { ...page, chats: [] } : { ...page, chats: [newest], next_cursor: older.chat_id };
  };
  miss(socket, 4);
  await settle();
  assert.deepEqual(shown(chats), ["text 1", "text 2", "text 5"]);
});

test("the counts of a chat have a missed edit and a missed deletion once", async () => {
  const everyone = { edited: { text: { body: "@all", mentions_everyone: true } } };
  for (const [body, unread, mentions] of [[everyone, 2, 1], [{ deleted: {} }, 1, 0]]) {
    const { chats, history, socket } = await online();
    for (const event of [sentAt(2), sentAt(3)]) {
      history.record(event);
      socket.deliver({ event });
    }
    history.record(changeAt(4, 2, body, MIRA));
    history.about.set(CHAT, { unread, unread_mentions: mentions });
    history.complete = 5;
    miss(socket, 5);
    await settle();
    assert.deepEqual([chats.of(CHAT).unread, chats.of(CHAT).unread_mentions], [unread, mentions]);
  }
});

test("the counts of a chat that is not loaded are read until history has the event that changed them, and no longer", async () => {
  const { chats, history, socket } = await online();
  const events = [2, 3].map((minute) => sentTo(OTHER, minute));
  for (const event of events) socket.deliver({ event });
  history.record(events);
  history.about.set(OTHER, { unread: 2 });
  history.complete = 3;
  history.requests.length = 0;
  const { event_id, change } = changeAt(4, 2, { deleted: {} }, "8");
  const deleted = { event_id, change: { ...change, chat_id: OTHER } };
  socket.deliver({ event: deleted });
  await settle();
  assert.deepEqual(history.requests, []);
  await pass(5);
  assert.equal(chats.of(OTHER).unread, 2);
  history.record(deleted);
  history.about.set(OTHER, { unread: 1 });
  history.complete = 5;
  await pass(5);
  assert.equal(chats.of(OTHER).unread, 1);
  history.requests.length = 0;
  await pass(60);
  assert.deepEqual(history.requests, []);
});

test("the newest missed message of a chat is passed on, once", async () => {
  const { sync, history, socket } = await online();
  const missed = [];
  sync.onMissed = ({ body }) => missed.push(body);
  history.record([sentAt(2), sentAt(3)]);
  miss(socket, 3);
  for (const seconds of [5, 10]) await pass(seconds);
  assert.deepEqual(missed, ["text 3"]);
});

test("of a chat that is muted except for mentions the newest missed mention is passed on, too, if it is not the newest message", async () => {
  const history = new FakeHistory();
  history.record(sentTo(OTHER, 1));
  const { event_id, change } = changeAt(1, 0, { muted: { until_ms: FOR_EVER, except_mentions: true } });
  const about = { changes: [{ event_id, change: { ...change, chat_id: OTHER } }] };
  history.about.set(OTHER, about);
  const { sync, socket } = await online({ history });
  const missed = [];
  sync.onMissed = ({ body }) => missed.push(body);
  const mention = sentTo(OTHER, 2);
  mention.message.text = { body: "@ada", mentions: [{ user_id: ADA }] };
  history.record([mention, sentTo(OTHER, 3)]);
  Object.assign(about, { unread: 2, unread_mentions: 1 });
  miss(socket, 3);
  for (const seconds of [5, 10]) await pass(seconds);
  assert.deepEqual(missed, ["@ada", "text 3"]);
  assert.equal(history.requests.filter((request) => request === `messages ${OTHER}`).length, 1);
});

test("the newest missed message is passed on although a control change, or a deleted message, follows it", async () => {
  const [group, settings, own] = ["g-5", { name: "Crew" }, { user_id: ADA, role: "ROLE_MEMBER", spans: [{ first: "1" }] }];
  const history = new FakeHistory();
  for (const chat_id of [OTHER, group]) history.record(sentTo(chat_id, 1));
  history.about.set(group, { version: "1", settings, own });
  const { sync, socket } = await online({ history });
  const missed = [];
  sync.onMissed = ({ body, control }) => missed.push(control ? "control" : body);
  const joined = { version: "2", members: [{ user_id: "9", role: "ROLE_MEMBER" }] };
  const control = sentTo(group, 3);
  Object.assign(control.message, { text: undefined, control: joined });
  const { event_id, change } = changeAt(5, 4, { deleted: {} }, "8");
  history.record([sentTo(group, 2), control, sentTo(OTHER, 3), sentTo(OTHER, 4), { event_id, change: { ...change, chat_id: OTHER } }]);
  history.about.set(group, { version: "2", settings, own, unread: 1 });
  history.about.set(OTHER, { unread: 1 });
  history.complete = 5;
  miss(socket, 5);
  for (const seconds of [5, 10]) await pass(seconds);
  assert.deepEqual(missed, ["text 3", "text 2", "control"]);
});

test("if too much was missed, a chat loads anew: the open one at once, at the place of its reader", async () => {
  const { chats, history, socket } = await online({ history: historyUpTo(400) });
  const { conversations } = chats;
  history.record(sentTo(OTHER, 2));
  for (const chat_id of [OTHER, CHAT]) await conversations.open(chat_id);
  history.tooOld = new Set([CHAT, OTHER]);
  history.complete = 500;
  conversations.follow(false, () => idAt(320));
  miss(socket, 500);
  await settle();
  assert.deepEqual([shown(chats)[0], shown(chats).length, conversations.isHeld(OTHER)], ["text 270", 100, false]);
  history.record(sentAt(550));
  history.complete = 600;
  conversations.follow(true, () => idAt(320));
  miss(socket, 600);
  await settle();
  assert.deepEqual([shown(chats).at(-1), conversations.of(CHAT).hasNewer], ["text 550", false]);
});

test("while a page is on its way, which may lack missed events, the chat is not complete", async () => {
  const { chats, history, socket } = await online({ history: historyUpTo(200) });
  await chats.conversations.open(CHAT, () => idAt(100));
  const { messages } = history;
  let release;
  history.messages = (...query) => new Promise((resolve) => (release = () => resolve(page)));
  const page = await messages(CHAT, { after_id: idAt(149) });
  void chats.conversations.loadNewer(CHAT);
  history.record(edit(300, 160, "better"));
  history.complete = 300;
  miss(socket, 300);
  await settle();
  release();
  await pass(5);
  assert.equal(shown(chats)[110], "better");
});

test("a page with kept chats reads what they lack, also of last year's messages, and loads no page", async () => {
  const copies = fakeCopies();
  const first = await online({ copies });
  const { history } = first;
  history.record([sentAt(2), sentTo(OTHER, 2)]);
  history.complete = 2;
  miss(first.socket, 2);
  await first.chats.conversations.open(OTHER);
  await settle();
  await first.recent.save();
  history.record([edit(5e5, 1, "better"), sentAt(5e5 + 1), sentTo(OTHER, 5e5 + 2), sentTo("d-9-11", 5e5 + 3)]);
  history.requests.length = 0;
  const { chats, sockets } = await online({ copies, history });
  assert.deepEqual(history.requests, ["chats", `changes ${CHAT}`]);
  history.complete = 6e5;
  miss(sockets[0], 6e5);
  await settle();
  assert.deepEqual(shown(chats), ["better", "text 2", "text 500001"]);
  assert.deepEqual(shown(chats, OTHER), ["text 2", "text 500002"]);
  assert.deepEqual(history.requests, ["chats", `changes ${CHAT}`, "chats", `changes ${CHAT}`, `changes ${OTHER}`]);
  assert.equal(chats.all.length, 3);
});

test("marks that a page could not send before it was closed are sent by the next one, once", async () => {
  const copies = fakeCopies();
  const first = await online({ copies });
  const { history } = first;
  first.sync.session.end();
  history.record([2, 3, 4].map((minute) => sentAt(minute)));
  history.about.set(CHAT, { unread: 3 });
  await first.chats.readHead(CHAT);
  first.sync.sending.markRead(CHAT, idAt(4));
  await first.recent.save();
  const { chats, socket } = await online({ copies, history });
  await pass(1);
  assert.equal(chats.of(CHAT).unread, 0);
  const marked = () => socket.sent.flatMap(({ change }) => change?.marked ?? []);
  assert.deepEqual(marked(), [{ delivered_up_to: idAt(4), read_up_to: idAt(4) }]);
  await chats.readHead(CHAT);
  await pass(1);
  assert.equal(marked().length, 1);
});

test("messages that are older than the page are not passed on as missed, and it reads none before the newest one", async () => {
  const copies = fakeCopies();
  const history = new FakeHistory();
  history.record(sentTo(OTHER, 1));
  const { recent } = await online({ copies, history });
  await recent.save();
  history.isAway = true;
  const { event_id, change } = changeAt(5, 4, { deleted: {} }, "8");
  history.record([sentAt(5), sentTo(OTHER, 3), sentTo(OTHER, 4), { event_id, change: { ...change, chat_id: OTHER } }]);
  history.about.set(OTHER, { unread: 1 });
  const { sync, sockets } = await online({ copies, history, minute: 6 });
  const missed = [];
  sync.onMissed = ({ body }) => missed.push(body);
  history.isAway = false;
  for (const minute of [6, 9]) {
    history.complete = minute;
    miss(sockets[0], minute);
    await settle();
    history.record(sentAt(8));
  }
  assert.deepEqual(missed, ["text 8"]);
  assert.ok(history.requests.includes("chats") && !history.requests.includes(`messages ${OTHER}`));
});

test("the first session reads what was not in history yet when the page was opened", async () => {
  const { chats, history } = await online({ minute: 3 });
  history.record(sentAt(2));
  history.complete = 4;
  await pass(5);
  assert.deepEqual(shown(chats).at(-1), "text 2");
  history.requests.length = 0;
  await pass(60);
  assert.deepEqual(history.requests, []);
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

test("the end of the sign-in ends the uploads, and messages that are not sent stay", async () => {
  const { sync } = await online();
  await sync.sending.send(CHAT, "mine");
  sync.sending.uploads = { stop: mock.fn() };
  sync.session.restart();
  assert.equal(sync.sending.uploads.stop.mock.callCount(), 0);
  sync.session.end();
  assert.equal(sync.sending.uploads.stop.mock.callCount(), 1);
  assert.deepEqual(sync.sending.waiting(CHAT).map(({ body }) => body), ["mine"]);
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

test("a message is marked as delivered in a group whose members show it to each other, else only as read", async () => {
  const { chats, sync, socket } = await online();
  const arrived = [];
  sync.onArrived = ({ chat_id }) => arrived.push(chat_id);
  const control = { version: "1", settings: { name: "Team" }, members: [{ user_id: ADA, role: "ROLE_MEMBER" }] };
  await pass(1);
  socket.sent.length = 0;
  const message = { ...wireMessage(2), chat_id: "g-5", text: undefined, control };
  socket.deliver({ event: { event_id: idAt(2), message } });
  await pass(1);
  const marked = (chat_id, delivered, read) => {
    const marks = { delivered_up_to: delivered && idAt(delivered), read_up_to: read ? idAt(read) : "0" };
    return { change: { chat_id, marked: marks } };
  };
  assert.deepEqual([arrived, socket.sent.splice(0)], [["g-5"], [marked("g-5", 2)]]);
  for (const [chat_id, about] of [["g-6", { member_count: 33 }], ["g-7", { settings: { name: "News", is_channel: true } }]]) {
    const other = { ...wireMessage(3), chat_id, text: undefined, control: { ...control, ...about } };
    socket.deliver({ event: { event_id: idAt(3), message: other } });
    await pass(1);
    assert.deepEqual([chats.undelivered(chat_id), socket.sent.filter(({ change }) => change)], [idAt(3), []]);
  }
  sync.sending.markRead("g-6", idAt(3));
  await pass(1);
  assert.deepEqual(socket.sent.filter(({ change }) => change), [marked("g-6", 3, 3)]);
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

test("a message can be edited for the time that Welcome states; the text of a later edit becomes the draft, if there is none", async () => {
  const { sync: { sending }, socket } = await online();
  mock.timers.setTime(timeOf(1) + 61_000);
  assert.ok(sending.mayEdit(idAt(1)), "without a limit");
  sending.online({ edit_seconds: 60 });
  assert.deepEqual([1, 2].map((minute) => sending.mayEdit(idAt(minute))), [false, true]);
  for (const body of ["late", "later"]) {
    sending.edit(CHAT, idAt(1), { body });
    refuse(socket, { code: "forbidden" });
  }
  const { editing, text } = sending.drafts.get(CHAT);
  assert.deepEqual([editing, text], [null, "late"]);
  sending.online();
  assert.ok(sending.mayEdit(idAt(1)));
});

test("an edit that the server finds too late ends the editing of such messages, although this session's limit allows it", async () => {
  const { sync: { sending }, socket } = await online();
  mock.timers.setTime(timeOf(1) + 61_000);
  const tooLate = { code: "forbidden", field: "change.target_id" };
  const save = async (body, refused) => {
    sending.edit(CHAT, idAt(1), { body });
    refuse(socket, refused);
    await import("../../../web/stores/refused-mentions.js"); // the page looks for a refused mention in it
    await settle();
    return [sending.drafts.get(CHAT), sending.mayEdit(idAt(1)), sending.mayEdit(idAt(2))];
  };
  const [{ editing, text }, ...may] = await save("late", tooLate);
  assert.deepEqual([editing, text, may], [null, "late", [false, true]]);
  sending.drafts.keep(CHAT, { text: "" });
  sending.online();
  mock.timers.setTime(timeOf(0));
  const [slow, ...mayBySlow] = await save("by a slow clock", tooLate);
  assert.deepEqual([slow.editing, slow.text, mayBySlow], [null, "by a slow clock", [false, true]]);
  sending.drafts.keep(CHAT, { text: "" });
  sending.online();
  const [{ editing: refused }] = await save("mention", { code: "forbidden", field: "change.edited.text.mentions_everyone" });
  assert.equal(refused.text, "mention");
});

test("a message, and an edit, whose mention the server refuses is sent again without it, and fails for another reason", async () => {
  const { chats, sync: { sending }, socket } = await online();
  const mentions = [{ user_id: MIRA, name: "Mimi" }, { user_id: "99", name: "Gone" }];
  const text = { body: "@everyone, @Mimi, @Gone", mentions, mentions_everyone: true };
  const shownMentions = ({ mentions, mentions_everyone }) => [mentions.map(({ name }) => name).join(), mentions_everyone === true];
  const begin = {
    send: () => sending.send(CHAT, text.body, text),
    "change.edited": () => sending.edit(CHAT, idAt(1), text),
  };
  const refused = async (answer) => {
    refuse(socket, answer);
    await import("../../../web/stores/refused-mentions.js");
    await settle();
  };
  for (const [path, send] of Object.entries(begin)) {
    await send();
    const sent = () => {
      const { send, change } = socket.sent.at(-1);
      return [(send ?? change).client_message_id ?? change.client_change_id, ...shownMentions((send ?? change.edited).text)];
    };
    const [id, ...first] = sent();
    assert.deepEqual(first, ["Mimi,Gone", true]);
    await refused({ code: "forbidden", field: `${path}.text.mentions_everyone` });
    assert.deepEqual(sent(), [id, "Mimi,Gone", false]);
    await refused({ code: "not_found", field: `${path}.text.mentions[1].user_id` });
    assert.deepEqual(sent(), [id, "Mimi", false]);
    const count = socket.sent.length;
    await refused({ code: "not_found", field: `${path}.text.mentions[1].user_id` });
    assert.equal(socket.sent.length, count, "the text has no such mention");
  }
  assert.deepEqual(sending.waiting(CHAT).map(({ state }) => state), ["failed"]);
  assert.equal(sending.drafts.get(CHAT).editing.text, text.body);
  assert.equal(textOf(sending.shown(chats.conversations.of(CHAT).messages[0])), "text 1");
});

test("mutes end, and messages can be edited, by the clock of the server, which Welcome states", async () => {
  const { chats, sync: { sending } } = await online({ minute: 60 });
  const isMuted = (minute) => {
    chats.change(changeAt(minute, 0, { muted: { until_ms: String(timeOf(minute)) } }));
    return sending.own(chats.of(CHAT)).isMuted;
  };
  assert.deepEqual([59, 61].map(isMuted), [false, true]);
  sending.online({ edit_seconds: 90 });
  assert.deepEqual([58, 59].map((minute) => sending.mayEdit(idAt(minute))), [false, true]);
  await pass(120);
  assert.deepEqual([sending.own(chats.of(CHAT)).isMuted, sending.mayEdit(idAt(59))], [false, false]);
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

test("a chat shows its failed message, else its draft unless it is closed, else the message that waits", async () => {
  const { chats, sync, socket } = await online();
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
  sending.drafts.keep("g-5", { text: "four" });
  assert.ok(sending.unsent().has("g-5"), "the group is not known yet");
  const left = (role) => {
    const settings = { name: "Crew", permissions: String(PERMISSIONS.POST) };
    chats.merge([{ chat_id: "g-5", version: role ? "1" : "2", settings, own: { user_id: ADA, role } }]);
    return sending.unsent().has("g-5");
  };
  assert.deepEqual([left("ROLE_MEMBER"), left()], [true, false], "nothing can be sent to a group that the user has left");
});

test("a draft does not cover the newest message of a group while the user may not post in it", async () => {
  const { chats, sync: { sending } } = await online();
  sending.drafts.keep("g-5", { text: "four" });
  const isShown = (version, deny) => {
    const own = { user_id: ADA, role: "ROLE_MEMBER", deny: String(deny) };
    chats.merge([{ chat_id: "g-5", version, settings: { name: "Crew", permissions: String(PERMISSIONS.POST) }, own }]);
    return sending.unsent().has("g-5");
  };
  assert.deepEqual([isShown("1", 0), isShown("2", PERMISSIONS.POST), isShown("3", 0)], [true, false, true]);
});

test("others are told of writing unless the person hides it", async () => {
  const { sync, socket } = await online();
  sync.sending.isTypingShown = () => false;
  sync.sending.writing(CHAT);
  assert.ok(!socket.sent.some(({ typing }) => typing));
  sync.sending.isTypingShown = () => true;
  sync.sending.writing(CHAT);
  assert.deepEqual(socket.sent.at(-1), { typing: { chat_id: CHAT } });
  sync.sending.writing(OTHER);
  sync.sending.writing(OTHER);
  assert.deepEqual(socket.sent.flatMap(({ typing }) => typing?.chat_id ?? []), [CHAT, OTHER], "the other chat need not wait");
});
