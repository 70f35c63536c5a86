// Channels: what the session follows, and how the page learns of events that it does not get. Time is mocked.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { Completion } from "../../../web/components/completion.js";
import { ChannelMembers, findMentioned } from "../../../web/stores/channel-members.js";
import "../../../web/stores/channels.js"; // the page loads it later: then that takes no time
import { textOf } from "../../../web/kinds/edited.js";
import { FOR_EVER } from "../../../web/kinds/own.js";
import { ADA, changeAt, CHAT, FakeHistory, idAt, MIRA, settle, wireMessage } from "./fakes.js";
import { online, pass, timeOf } from "./online.js";

const [NEWS, CLUB] = ["g-5", "g-6"];
const SETTINGS = { name: "News", is_channel: true };

beforeEach(() => mock.timers.enable({ apis: ["setTimeout", "Date"] }));
afterEach(() => {
  mock.timers.reset();
  delete globalThis.WebSocket;
});

const sentTo = (chat_id, minute, more = {}) => ({
  event_id: idAt(minute),
  message: { ...wireMessage(minute), chat_id, ...more },
});
const member = (user_id, role = "ROLE_MEMBER", more = {}) => ({ user_id, role, ...more });
/** A control change by which a user joins, or leaves, as the event of a minute. */
const control = (chat_id, minute, version, changed) =>
  sentTo(chat_id, minute, { text: undefined, control: { version, members: [changed], member_count: 9 } });

/** A client that is online and is a member of two channels with a message each. */
async function inChannels(history = new FakeHistory()) {
  for (const [at, chat_id] of [NEWS, CLUB].entries()) {
    history.record(sentTo(chat_id, at + 1));
    const group = { settings: SETTINGS, version: "1", member_count: 9, own: member(ADA, "ROLE_MEMBER", { spans: [{ first: "1" }] }) };
    history.about.set(chat_id, group);
  }
  history.marks = [{ user_id: ADA, read_up_to: idAt(2) }];
  history.complete = 2;
  const client = await online({ history, minute: 2 });
  await pass(0);
  await pass(0);
  return client;
}

const follows = ({ sent }) => sent.flatMap(({ follow }) => follow ?? []);
const frameOf = ({ sent }) => String(sent.findLastIndex(({ follow }) => follow) + 1);
const accept = (socket, minute) => socket.deliver({ accepted: { frame: frameOf(socket), at_ms: String(timeOf(minute)) } });
const refuse = (socket, refused) => socket.deliver({ refused: { frame: frameOf(socket), ...refused } });
const head = (socket, chat_id, minute) => socket.deliver({ channel_head: { chat_id, newest_id: idAt(minute) } });
const shown = (chats, chat_id) => chats.conversations.of(chat_id).messages.map(textOf);

test("a session follows the user's channels, the open one with its events; again in each session", async () => {
  const { chats, sync, sockets, socket } = await inChannels();
  chats.open(NEWS);
  await pass(0);
  chats.open(CHAT);
  await pass(0);
  const all = [NEWS, CLUB];
  assert.deepEqual(follows(socket), [
    { chat_ids: all, open_chat_ids: [] },
    { chat_ids: all, open_chat_ids: [NEWS] },
    { chat_ids: all, open_chat_ids: [] },
  ]);
  socket.deliver({ event: control(CLUB, 3, "2", member(ADA, "ROLE_UNSPECIFIED", { former_role: "ROLE_MEMBER" })) });
  await pass(0);
  assert.deepEqual(follows(socket).at(-1).chat_ids, [NEWS], "not after the user has left");
  sync.session.restart();
  await pass(2);
  sockets[1].onopen();
  sockets[1].deliver({ welcome: {} });
  await pass(0);
  assert.deepEqual(follows(sockets[1]), [{ chat_ids: [NEWS], open_chat_ids: [] }]);
});

test("a channel that the server refuses is left out until the page has read it again; other refusals are retried", async () => {
  const { history, socket } = await inChannels();
  history.requests.length = 0;
  refuse(socket, { code: "not_found", field: "follow.chat_ids[1]" });
  await pass(0);
  assert.deepEqual(follows(socket).at(-1).chat_ids, [NEWS]);
  accept(socket, 3);
  await pass(3);
  await pass(0);
  assert.deepEqual(history.requests, [`chat ${CLUB}`]);
  assert.deepEqual(follows(socket).at(-1).chat_ids, [NEWS, CLUB]);
  const count = follows(socket).length;
  refuse(socket, { code: "rate_limited", retryable: true, retry_after_ms: 7_000 });
  await pass(6);
  assert.equal(follows(socket).length, count);
  await pass(1);
  assert.equal(follows(socket).length, count + 1);
});

test("news of a channel update the list within 3 seconds, and at most every 5; the newest message is told once", async (context) => {
  context.mock.method(Math, "random", () => 0);
  const { chats, sync, history, socket } = await inChannels();
  const told = [];
  sync.onMissed = (message) => told.push(textOf(message));
  history.requests.length = 0;
  for (const minute of [3, 4]) history.record(sentTo(NEWS, minute));
  history.about.get(NEWS).unread = 2;
  for (const minute of [3, 4]) head(socket, NEWS, minute);
  await pass(3);
  assert.deepEqual([chats.of(NEWS).unread, textOf(chats.of(NEWS).newest), told], [2, "text 4", ["text 4"]]);
  head(socket, NEWS, 5); // history does not have it yet
  await pass(3);
  assert.deepEqual(history.requests, [`chat ${NEWS}`]);
  await pass(2);
  history.record(sentTo(NEWS, 5));
  await pass(5);
  await pass(60);
  assert.deepEqual(history.requests, Array(3).fill(`chat ${NEWS}`));
  assert.deepEqual(told, ["text 4", "text 5"]);
  assert.deepEqual(shown(chats, NEWS), []);
});

test("of a channel that is muted except for mentions the newest mention is told, too, with messages after it", async (context) => {
  context.mock.method(Math, "random", () => 0);
  const { chats, sync, history, socket } = await inChannels();
  accept(socket, 2);
  const told = [];
  sync.onMissed = (message) => told.push(textOf(message));
  const { event_id, change } = changeAt(2, 0, { muted: { until_ms: FOR_EVER, except_mentions: true } });
  const news = async (chat_id, minute, ...texts) => {
    texts.forEach((text, at) => history.record(sentTo(chat_id, minute + at, { text })));
    const about = history.about.get(chat_id);
    const mentions = texts.filter(({ mentions_everyone }) => mentions_everyone).length;
    Object.assign(about, { unread: (about.unread ?? 0) + texts.length, unread_mentions: (about.unread_mentions ?? 0) + mentions });
    head(socket, chat_id, minute + texts.length - 1);
    await pass(3);
    await pass(5);
    return [told.splice(0), history.requests.splice(0).filter((request) => request.startsWith("messages")).length];
  };
  chats.change({ event_id, change: { ...change, chat_id: NEWS } });
  history.requests.length = 0;
  const [plain, all, more] = [{ body: "plain" }, { body: "@all", mentions_everyone: true }, { body: "@all again", mentions_everyone: true }];
  assert.deepEqual(await news(NEWS, 3, all, more, plain), [["@all again", "plain"], 1]);
  assert.deepEqual(await news(NEWS, 6, plain), [["plain"], 0]);
  assert.deepEqual(await news(NEWS, 7, plain, all), [["@all"], 0]);
  assert.deepEqual(await news(CLUB, 9, all, plain), [["plain"], 0], "not muted");
});

test("a new message is told although a control change, or a deleted message, follows it", async (context) => {
  context.mock.method(Math, "random", () => 0);
  const { sync, history, socket } = await inChannels();
  accept(socket, 2);
  const told = [];
  sync.onMissed = (message) => told.push(message.control ? "control" : textOf(message));
  const news = async (chat_id, unread, ...events) => {
    history.record(events);
    history.about.get(chat_id).unread = unread;
    socket.deliver({ channel_head: { chat_id, newest_id: events.at(-1).event_id } });
    await pass(3);
    await pass(5);
    return told.splice(0);
  };
  const joined = control(NEWS, 5, "2", member("8"));
  assert.deepEqual(await news(NEWS, 2, sentTo(NEWS, 3), sentTo(NEWS, 4), joined), ["text 4", "control"]);
  assert.deepEqual(await news(NEWS, 2, control(NEWS, 6, "3", member("9"))), ["control"], "no message is new");
  const { event_id, change } = changeAt(5, 4, { deleted: {} }, MIRA);
  const deleted = { event_id, change: { ...change, chat_id: CLUB } };
  assert.deepEqual(await news(CLUB, 1, sentTo(CLUB, 3), sentTo(CLUB, 4), deleted), ["text 3"]);
});

test("the counts of an opened channel, whose list is not read then, are read after a missed edit of an unread message", async () => {
  const { chats, history, socket } = await inChannels();
  history.record(sentTo(NEWS, 3));
  chats.open(NEWS);
  await pass(0);
  socket.deliver({ event: sentTo(NEWS, 3) });
  const { event_id, change } = changeAt(4, 3, { edited: { text: { body: "@all", mentions_everyone: true } } }, MIRA);
  history.record({ event_id, change: { ...change, chat_id: NEWS } });
  Object.assign(history.about.get(NEWS), { unread: 1, unread_mentions: 1 });
  accept(socket, 5);
  history.complete = 5;
  await pass(1);
  await pass(5);
  assert.deepEqual([shown(chats, NEWS), chats.of(NEWS).unread_mentions], [["text 1", "@all"], 1]);
});

test("an opened channel is read until history is complete up to the time of the Follow; then its events arrive", async () => {
  const { chats, history, socket } = await inChannels();
  chats.open(NEWS);
  await pass(0);
  assert.deepEqual(shown(chats, NEWS), ["text 1"]);
  accept(socket, 4);
  history.record(sentTo(NEWS, 3)); // sent before Accepted, recorded after the page was read
  socket.deliver({ event: sentTo(NEWS, 5) });
  await pass(1);
  assert.deepEqual(shown(chats, NEWS), ["text 1", "text 3", "text 5"]);
  history.record(sentTo(NEWS, 4));
  history.complete = 4;
  await pass(5);
  assert.deepEqual(shown(chats, NEWS), ["text 1", "text 3", "text 4", "text 5"]);
  history.requests.length = 0;
  await pass(60);
  assert.deepEqual(history.requests, []);
});

test("events of a channel that is not open are shown when it is opened, with those that did not arrive", async () => {
  const { chats, history, socket } = await inChannels();
  chats.open(NEWS);
  await pass(0);
  chats.open(CHAT);
  history.record([3, 4, 5].map((minute) => sentTo(NEWS, minute)));
  const mention = sentTo(NEWS, 5, { text: { body: "@ada", mentions: [{ user_id: ADA, name: "ada" }] } });
  socket.deliver({ event: mention });
  assert.deepEqual([chats.of(NEWS).unread_mentions, textOf(chats.of(NEWS).newest)], [1, "@ada"]);
  history.requests.length = 0;
  await pass(3);
  assert.deepEqual(history.requests, [`chat ${NEWS}`], "for the other counts");
  assert.deepEqual(shown(chats, NEWS), ["text 1"]);
  history.complete = 5;
  history.requests.length = 0;
  socket.deliver({ gap: { at_ms: String(timeOf(5)) } });
  await pass(1);
  assert.ok(!history.requests.includes(`changes ${NEWS}`), "a channel that is not open is not caught up");
  chats.open(NEWS);
  await settle();
  assert.deepEqual(shown(chats, NEWS), ["text 1", "text 3", "text 4", "text 5"]);
  chats.open(CHAT);
  history.record(sentTo(NEWS, 6));
  history.tooOld.add(NEWS);
  const forget = mock.method(chats.quotes, "forget");
  chats.open(NEWS);
  await settle();
  assert.deepEqual(shown(chats, NEWS).at(-1), "text 6");
  assert.equal(forget.mock.callCount(), 1, "quoted messages may have changed meanwhile");
});

test("a quote in a channel that is opened again has the changes that were made while it was closed", async () => {
  const { chats, history } = await inChannels();
  history.record(Array.from({ length: 300 }, (_, at) => sentTo(NEWS, at + 10)));
  history.about.get(NEWS).unread = 300; // it opens at the first of them
  await chats.readHead(NEWS);
  const opened = async (chat_id) => {
    chats.open(chat_id);
    await pass(0);
  };
  const quoted = async () => {
    chats.quotes.get(NEWS, idAt(150));
    await settle();
    return textOf(chats.quotes.get(NEWS, idAt(150)));
  };
  await opened(NEWS);
  assert.equal(await quoted(), "text 150");
  await opened(CHAT);
  const { event_id, change } = changeAt(401, 150, { edited: { text: { body: "better" } } }, MIRA);
  history.record({ event_id, change: { ...change, chat_id: NEWS } });
  history.complete = 402;
  await opened(NEWS);
  assert.equal(await quoted(), "better");
});

test("a group that becomes a channel is followed at once, with what the session got of it", async () => {
  const history = new FakeHistory();
  history.record(sentTo("g-7", 2));
  history.about.set("g-7", { settings: { name: "Team" }, version: "1", member_count: 9, own: member(ADA) });
  const { chats, socket } = await inChannels(history);
  chats.open("g-7");
  await pass(0);
  const conversion = { version: "2", settings: { name: "Team", is_channel: true }, changed: ["is_channel"], member_count: 12 };
  socket.deliver({ event: sentTo("g-7", 3, { text: undefined, control: conversion }) });
  await pass(0);
  assert.deepEqual(follows(socket).at(-1), { chat_ids: [NEWS, CLUB, "g-7"], open_chat_ids: ["g-7"] });
  assert.equal(shown(chats, "g-7").length, 2);
  assert.deepEqual([chats.isChannel("g-7"), chats.of("g-7").group.member_count], [true, 12]);
});

/**
 * Members 1 to `count` of a channel. `pages` of a search by name have the ids of members, and all but the last one a
 * cursor.
 */
function channelOf(count, pages = [["7"]]) {
  const all = Array.from({ length: count }, (_, at) => member(String(at + 1)));
  const requests = [];
  const profiles = new Map();
  const put = (some) => some.forEach((one) => profiles.set(one.user_id, one));
  const chats = { found: new Map(), profiles: { put }, members: () => [...profiles.values()] };
  const api = {
    members: async (_, after, limit) => {
      requests.push(after);
      const rest = all.slice(Number(after));
      return { members: rest.slice(0, limit), has_more: rest.length > limit, version: "1" };
    },
    signedIn: async (_, path) => {
      const { pathname, searchParams } = new URL(path, "https://rookery.example");
      if (!pathname.endsWith("/profiles")) return { members: all.filter(({ user_id }) => searchParams.get("user_ids").split(",").includes(user_id)) };
      const [name, cursor] = [searchParams.get("name_contains"), searchParams.get("cursor")];
      requests.push(`${name}${cursor}`);
      const at = Number(cursor) + 1;
      return { profiles: pages[at - 1].map((user_id) => ({ user_id, name, display_name: "" })), next_cursor: at < pages.length ? String(at) : "" };
    },
  };
  return { source: { api, chats }, requests, profiles };
}

test("the members of a channel are loaded page by page, found by name, and follow the control changes", async () => {
  const { source, requests } = channelOf(150);
  const members = new ChannelMembers(source, NEWS);
  const ids = () => members.members.map(({ user_id }) => user_id);
  await settle();
  assert.deepEqual([ids().length, members.canGrow], [100, true]);
  members.fold({ version: "2", members: [member("3", "ROLE_UNSPECIFIED"), member("9", "ROLE_ADMIN"), member("120", "ROLE_ADMIN")] });
  assert.deepEqual([ids().includes("3"), members.members.find(({ user_id }) => user_id === "9")?.role], [false, "ROLE_ADMIN"]);
  assert.equal(ids().at(-1), "100", "a later member is on a later page");
  members.fold({ version: "1", members: [member("3"), member("9")] });
  assert.deepEqual([ids().length, members.members.find(({ user_id }) => user_id === "9")?.role], [99, "ROLE_ADMIN"], "an old change");
  members.find("zo");
  members.find("zoe");
  await pass(0.2);
  assert.deepEqual([ids(), members.areFound, requests], [["7"], true, ["0", "zoe"]]);
  members.find("");
  await Promise.all([members.load(), members.load()]);
  assert.deepEqual([ids().length, members.canGrow, requests.length], [149, false, 3]);
  const later = members.members.find(({ user_id }) => user_id === "120");
  assert.equal(later?.role, "ROLE_ADMIN", "a page of an archive that lags behind a control change");
});

test("a search reads on past accounts that are no members, in the order of the names", async () => {
  const { source, requests } = channelOf(150, [[], ["9", "3"], ["7"]]);
  const members = new ChannelMembers(source, NEWS);
  members.find("an");
  await pass(0.2);
  assert.deepEqual([requests, members.phase], [["0", "an", "an1", "an2"], "ready"]);
  assert.deepEqual(members.members.map(({ user_id }) => user_id), ["9", "3", "7"]);
  assert.equal(members.arePartial, false);
});

test("a name that is longer than the server takes finds no member, without a request", async () => {
  const { source, requests } = channelOf(150);
  const members = new ChannelMembers(source, NEWS);
  members.find("z".repeat(65));
  await pass(0.2);
  assert.deepEqual([members.members, members.areFound, members.arePartial, members.phase], [[], true, false, "ready"]);
  assert.deepEqual(requests, ["0"]);
});

test("a search ends after ten requests or a hundred members, and tells that a longer name may find others", async () => {
  const many = Array.from({ length: 100 }, (_, at) => String(at + 1));
  for (const [pages, found, count] of [[Array.from({ length: 11 }, () => []), 0, 10], [[["150"], many, ["101"]], 101, 2]]) {
    const { source, requests } = channelOf(150, pages);
    const members = new ChannelMembers(source, NEWS);
    members.find("an");
    await pass(0.2);
    assert.deepEqual([members.members.length, members.arePartial, members.phase], [found, true, "ready"]);
    assert.equal(requests.filter((request) => request.startsWith("an")).length, count);
    members.find("");
    assert.equal(members.arePartial, false);
  }
});

test("a member to mention is searched by each longer name, unless a shorter one finds no member at all", async (context) => {
  context.after(() => delete globalThis.document);
  globalThis.document = { activeElement: null };
  for (const [pages, searched] of [[[[], []], ["an", "anto"]], [[[]], ["an"]]]) {
    const { source, requests } = channelOf(9, pages);
    const field = { value: "", selectionStart: 0, selectionEnd: 0, addEventListener() {} };
    const chats = { ...source.chats, isChannel: () => true, members: () => [], of: () => ({}) };
    const completion = new Completion(field, { api: source.api, chats, root: { invalidate() {} } }, NEWS);
    await settle();
    for (const typed of ["@an", "@anto"]) {
      Object.assign(field, { value: typed, selectionStart: typed.length, selectionEnd: typed.length });
      completion.look();
      await pass(0.2);
      await settle();
    }
    assert.deepEqual(requests, searched);
  }
});

test("a text mentions the members of a channel whom the search finds, and those who wrote", async () => {
  const { source, requests } = channelOf(9);
  await findMentioned(source, NEWS, "@zoe, a@b and @zoe: @t.m. @everyone");
  await findMentioned(source, NEWS, "@t.m and @ann");
  assert.deepEqual(requests, ["zoe", "t.m", "ann"], "a known name is not searched");
  const { chats, socket } = await inChannels();
  chats.found = source.chats.found;
  chats.open(NEWS);
  await pass(0);
  assert.deepEqual(chats.memberIds(NEWS), [MIRA]);
  const find = (...user_ids) => chats.found.set(NEWS, new Set(user_ids));
  find("9", MIRA);
  assert.deepEqual(chats.memberIds(NEWS), [MIRA, "9"]);
  const change = (minute, user_id, role) => socket.deliver({ event: control(NEWS, minute, String(minute), member(user_id, role)) });
  for (const [at, user_id] of ["9", MIRA].entries()) change(at + 2, user_id, "ROLE_UNSPECIFIED");
  assert.deepEqual(chats.memberIds(NEWS), [], "they have left");
  find("9");
  assert.deepEqual(chats.memberIds(NEWS), ["9"], "and one is found again");
});

test("the oldest of a thousand control changes are forgotten, and count as known", async () => {
  const { source } = channelOf(150);
  const members = new ChannelMembers(source, NEWS);
  const ids = () => members.members.map(({ user_id }) => user_id);
  await settle();
  members.fold({ version: "2", members: [member("7", "ROLE_UNSPECIFIED")] });
  for (let joined = 1; joined <= 1_000; joined++) members.fold({ version: String(joined + 2), members: [member(String(joined + 150))] });
  members.fold({ version: "2", members: [member("7"), member("8", "ROLE_ADMIN")] });
  assert.deepEqual([ids().includes("7"), members.members.find(({ user_id }) => user_id === "8")?.role], [false, "ROLE_MEMBER"]);
  members.find("zoe");
  await pass(0.2);
  assert.deepEqual(ids(), ["7"], "as the archive knows the member, which does not lag so far behind");
});

test("read marks of a channel are sent together some seconds later, or once the page is hidden", async (context) => {
  context.mock.method(Math, "random", () => 1);
  const { sync, socket } = await inChannels();
  const marks = () => socket.sent.flatMap(({ change }) => change?.marked?.read_up_to ?? []);
  socket.sent.length = 0;
  sync.sending.markRead(NEWS, idAt(3));
  sync.sending.flushMarks();
  assert.deepEqual(marks(), [idAt(3)]);
  sync.sending.markRead(NEWS, idAt(4));
  await pass(2);
  sync.sending.markRead(NEWS, idAt(5));
  assert.deepEqual(marks(), [idAt(3)]);
  await pass(3);
  assert.deepEqual(marks(), [idAt(3), idAt(5)]);
});

test("a late control change applies, and a search shows nobody as before one", async () => {
  const channels = channelOf(9);
  const members = new ChannelMembers(channels.source, NEWS);
  const ids = () => members.members.map(({ user_id }) => user_id).join("");
  await settle();
  members.fold({ version: "3", members: [member("7", "ROLE_UNSPECIFIED")] });
  members.fold({ version: "2", members: [member("8", "ROLE_UNSPECIFIED")] });
  assert.equal(ids(), "1234569");
  members.find("zoe");
  await pass(0.2);
  assert.equal(ids(), "");
  const { api } = channels.source;
  const { signedIn } = api;
  api.signedIn = async (...request) => ({ ...(await signedIn(...request)), version: "4" });
  members.find("zoë");
  await pass(0.2);
  assert.equal(ids(), "7", "added again in a newer version than the page knows");
});
