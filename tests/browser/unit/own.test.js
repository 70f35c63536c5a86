// A user's own settings of a chat: muted, pinned to the top of the list, archived, and without previews of their links.

import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyChat, withMessage } from "../../../web/chats.js";
import { chatChoices } from "../../../web/components/chat-choices.js";
import { isShown } from "../../../web/components/chat-filters.js";
import { FOR_EVER, isCounted, isSilent, MAX_PINNED, ownSettings, pinnedFirst } from "../../../web/kinds/own.js";
import { en } from "../../../web/languages/en.js";
import { fromWire } from "../../../web/messages.js";
import { Chats } from "../../../web/stores/chats.js";
import { Kept } from "../../../web/stores/kept.js";
import { Sending } from "../../../web/stores/sending.js";
import { ADA, changeAt, CHAT, fakeDatabase, idAt, MIRA, wireMessage } from "./fakes.js";

const NONE = { mute: null, isMuted: false, isQuiet: false, isPinned: false, isArchived: false, isWithoutPreviews: false };
const own = (minutes, change, actor_id) => changeAt(minutes, 0, change, actor_id);
const message = (minutes, change) => fromWire({ ...wireMessage(minutes), ...change });

/** The chat's settings at a time, after a message and changes. */
function settings(newest, changes, now_ms = 0, unread_mentions = 0) {
  const chat = withMessage(emptyChat(CHAT, []), message(newest), ADA);
  const state = new Map(changes.map((event, at) => [String(at), event]));
  return ownSettings({ ...chat, unread_mentions, changes: state }, ADA, now_ms);
}

test("a mute ends at its time, or never, and is this user's alone", () => {
  const until = (until_ms, now_ms) => settings(1, [own(2, { muted: { until_ms } })], now_ms).isMuted;
  assert.deepEqual([until("1000", 999), until("1000", 1000), until(undefined, 0)], [true, false, false]);
  assert.ok(until(FOR_EVER, 8.64e15));
  assert.deepEqual(settings(1, [own(2, { muted: { until_ms: FOR_EVER } }, MIRA)]), NONE);
});

test("a later message brings an archived chat back to the list, unless the chat is muted", () => {
  const archived = own(2, { archived: { set: true } });
  const isArchived = (newest, ...others) => settings(newest, [archived, ...others], 500).isArchived;
  assert.deepEqual([isArchived(1), isArchived(3)], [true, false]);
  const muted = (until_ms) => own(4, { muted: { until_ms } });
  assert.deepEqual([isArchived(3, muted("501")), isArchived(3, muted("500"))], [true, false]);
  assert.equal(settings(1, [own(2, { archived: { set: false } })]).isArchived, false);
});

test("an unread mention for which a mute has an exception counts, and brings an archived chat back to the list", () => {
  const seen = (except_mentions, unread_mentions, archived_at) => {
    const changes = [own(4, { muted: { until_ms: "501", except_mentions } })];
    if (archived_at) changes.push(own(archived_at, { archived: { set: true } }));
    const found = settings(3, changes, 500, unread_mentions);
    assert.equal(found.isMuted, true);
    return [found.isArchived, isCounted(found, true)];
  };
  assert.deepEqual([seen(true, 1), seen(true, 0), seen(false, 1)], [[false, true], [false, false], [false, false]]);
  assert.deepEqual([seen(true, 1, 2), seen(true, 0, 2), seen(false, 1, 2)], [[false, true], [true, false], [true, false]]);
  assert.deepEqual(seen(true, 1, 4), [true, false], "archived after the mention");
  assert.deepEqual([isCounted(NONE, true), isCounted(NONE, false)], [true, false]);
});

test("a user who joins brings no archived group back to the list, nor hides one again that a message has brought back", ({ mock }) => {
  mock.timers.enable({ apis: ["setTimeout"] }); // the group is read for a minute
  const group = "g-5";
  const chats = new Chats({ chat: async () => ({ chat_id: group }) }, { user_id: ADA });
  const sent = { ...wireMessage(0), chat_id: group };
  const add = (minutes, more) => {
    chats.add(fromWire({ ...sent, message_id: idAt(minutes), ...more }));
    return ownSettings(chats.of(group), ADA, 0).isArchived;
  };
  const joined = (version) => ({ text: undefined, control: { version, members: [{ user_id: "8", role: "ROLE_MEMBER" }] } });
  chats.change({ event_id: idAt(2), change: { chat_id: group, actor_id: ADA, archived: { set: true } } });
  assert.deepEqual([add(1), add(3, joined("2")), add(5, joined("3")), add(4), add(6, joined("4"))], [true, true, true, false, false]);
  chats.merge([{ chat_id: group, newest: { message: { ...sent, message_id: idAt(7), ...joined("5") } } }]);
  assert.equal(ownSettings(chats.of(group), ADA, 0).isArchived, false);
});

test("a message that brought a group back does so in a list that is read later, behind a control change", () => {
  const group = "g-5";
  const chats = new Chats({ chat: async () => ({ chat_id: group }) }, { user_id: ADA });
  const control = { version: "2", members: [{ user_id: "8", role: "ROLE_MEMBER" }] };
  const newest = { message: { ...wireMessage(0), chat_id: group, message_id: idAt(4), text: undefined, control } };
  const archived = { event_id: idAt(2), change: { chat_id: group, actor_id: ADA, archived: { set: true } } };
  const isArchived = (newest_sent_id) => {
    chats.merge([{ chat_id: group, unread: 1, newest, newest_sent_id, changes: [archived] }]);
    return ownSettings(chats.of(group), ADA, 0).isArchived;
  };
  assert.deepEqual([isArchived(), isArchived(idAt(1)), isArchived(idAt(3)), isArchived()], [true, true, false, false]);
});

test("a group that the user has left is in the archive only if it was archived after that, whatever the server states of its messages", () => {
  const group = "g-5";
  const chats = new Chats({ chat: async () => ({ chat_id: group }) }, { user_id: ADA });
  const left = { version: "2", members: [{ user_id: ADA, former_role: "ROLE_MEMBER", spans: [{ first: idAt(1), last: idAt(4) }] }] };
  const newest = { message: { ...wireMessage(4), chat_id: group, text: undefined, control: left } };
  const archived = (minutes) => ({ event_id: idAt(minutes), change: { chat_id: group, actor_id: ADA, archived: { set: true } } });
  const isArchived = (minutes) => {
    chats.merge([{ chat_id: group, version: "2", settings: { name: "Crew" }, own: left.members[0], newest, changes: [archived(minutes)] }]);
    return ownSettings(chats.of(group), ADA, 0).isArchived;
  };
  assert.deepEqual([isArchived(2), isArchived(5)], [false, true]);
});

test("a group to which the user is added again is in the archive only if it was archived after that", () => {
  const group = "g-5";
  const chats = new Chats({ chat: async () => ({ chat_id: group }) }, { user_id: ADA });
  const own = { user_id: ADA, role: "ROLE_MEMBER", spans: [{ first: idAt(1), last: idAt(4) }, { first: idAt(6) }] };
  const archived = (minutes) => ({ event_id: idAt(minutes), change: { chat_id: group, actor_id: ADA, archived: { set: true } } });
  const isArchived = (minutes) => {
    chats.merge([{ chat_id: group, version: "3", settings: { name: "Crew" }, own, newest_sent_id: idAt(1), changes: [archived(minutes)] }]);
    return ownSettings(chats.of(group), ADA, 0).isArchived;
  };
  assert.deepEqual([isArchived(2), isArchived(5), isArchived(7)], [false, false, true]);
});

test("previews of the user's links are off until they are switched on again", () => {
  const isWithout = (set, actor_id) => settings(1, [own(2, { without_previews: { set } }, actor_id)]).isWithoutPreviews;
  assert.deepEqual([isWithout(true), isWithout(false), isWithout(true, MIRA)], [true, false, false]);
});

test("a muted chat is silent, except for mentions of the user if they want them", () => {
  const silent = (muted, mentions) => {
    const chat = { changes: new Map([["muted", own(1, { muted })]]) };
    return isSilent(chat, message(2, { text: { body: "hey", mentions } }), ADA, 500);
  };
  const [ada, mira] = [ADA, MIRA].map((user_id) => [{ user_id, start: 0, length: 3 }]);
  assert.deepEqual([silent({ until_ms: "501" }), silent({ until_ms: "500" })], [true, false]);
  assert.equal(silent({ until_ms: FOR_EVER }, ada), true);
  const mentionsOnly = { until_ms: FOR_EVER, except_mentions: true };
  assert.deepEqual([silent(mentionsOnly, ada), silent(mentionsOnly, mira), silent(mentionsOnly)], [false, true, true]);
  const toAll = fromWire({ ...wireMessage(2), text: { body: "@alle", mentions_everyone: true } });
  assert.equal(isSilent({ changes: new Map([["muted", own(1, { muted: mentionsOnly })]]) }, toAll, ADA, 500), false);
});

test("pinned chats are first in the order of the list, up to the bound", () => {
  const chats = Array.from({ length: MAX_PINNED + 3 }, (_, at) => at);
  assert.deepEqual(pinnedFirst([0, 1, 2, 3], (chat) => chat % 2), [1, 3, 0, 2]);
  assert.deepEqual(pinnedFirst(chats, (chat) => chat > 0), [...chats.slice(1, MAX_PINNED + 1), 0, ...chats.slice(-2)]);
});

test("a filter shows unread chats, those with unread mentions, or groups", () => {
  const shown = (chat_id, unread_mentions, isUnread) =>
    Object.keys(en.chats.filters).filter((filter) => isShown({ chat_id, unread_mentions }, filter, isUnread));
  assert.deepEqual(shown(CHAT, 0, false), ["all"]);
  assert.deepEqual(shown("g-5", 1, true), ["all", "unread", "mentions", "groups"]);
});

test("the menu of a chat changes the settings at once, and a refusal leaves no trace", () => {
  const chats = new Chats({}, { user_id: ADA, name: "ada", display_name: "Ada" });
  const sent = [];
  const line = { send: (frame, answered) => (sent.push({ ...frame.change, answered }), true) };
  const sending = new Sending(chats, new Kept(fakeDatabase()), line);
  const labels = () => chatChoices({ chats, sending }, CHAT).map(({ label }) => label);
  assert.deepEqual(labels(), []);
  chats.add(message(1));
  const choose = (label) => chatChoices({ chats, sending }, CHAT).find((choice) => choice.label === label).choose();
  const before = ["Mark as read", "Pin to the top", "Notifications", "Archive", "Don’t preview my links"];
  assert.deepEqual(labels(), before);
  choose("Pin to the top");
  choose("Archive");
  sending.setOwn(CHAT, { muted: { until_ms: FOR_EVER } });
  choose("Don’t preview my links");
  const set = ["Mark as read", "Unpin from the top", "Notifications", "Move out of the archive", "Preview my links"];
  assert.deepEqual(labels(), set);
  const { chat_id, target_id, chat_pinned, answered } = sent[0];
  assert.deepEqual({ chat_id, target_id, chat_pinned }, { chat_id: CHAT, target_id: "0", chat_pinned: { set: true } });
  answered({ accepted: { event_id: idAt(2) } });
  sent[1].answered({ refused: { code: "forbidden", message: "" } });
  assert.deepEqual(labels(), [...set.slice(0, 3), "Archive", "Preview my links"]);
  for (const at of [2, 3]) sent[at].answered({ accepted: { event_id: idAt(at + 1) } });
  const mute = () => sending.own(chats.of(CHAT)).mute?.until_ms;
  assert.equal(mute(), FOR_EVER);
  sending.setOwn(CHAT, { muted: { until_ms: "0" } });
  assert.deepEqual([sent.at(-1).muted, mute()], [{ until_ms: "0" }, undefined]);
  sent.at(-1).answered({ accepted: { event_id: idAt(5) } });
  choose("Preview my links");
  assert.deepEqual([sent.at(-1).without_previews, labels()[4]], [{ set: false }, "Don’t preview my links"]);
});

test("a setting is sent before the messages that were written after it, without a connection", async () => {
  const chats = new Chats({}, { user_id: ADA, name: "ada", display_name: "Ada" });
  const sent = [];
  let isOnline = false;
  const line = { send: (frame) => isOnline && sent.push(frame) > 0 };
  const sending = new Sending(chats, new Kept(fakeDatabase()), line);
  sending.setOwn(CHAT, { without_previews: { set: true } });
  await sending.send(CHAT, "https://example.org");
  isOnline = true;
  sending.flush();
  assert.deepEqual(sent.map(({ change, send }) => change?.without_previews ?? send?.text.body), [{ set: true }, "https://example.org"]);
});
