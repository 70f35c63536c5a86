// Which messages cause a notification, and which of several tabs shows it. Time is mocked; the tabs are joined by a
// fake of the browser's channel.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { FOR_EVER } from "../../../web/kinds/own.js";
import { fromWire } from "../../../web/messages.js";
import { Profiles } from "../../../web/profiles.js";
import { decide, Notifier, shouldAsk, textsOf } from "../../../web/notifier.js";
import { Chats } from "../../../web/stores/chats.js";
import { Settings } from "../../../web/stores/settings.js";
import { Tabs } from "../../../web/tabs.js";
import { ADA, changeAt, CHAT, fakeStorage, idAt, markAt, MIRA, wireMessage } from "./fakes.js";

let channels;
let stopped;
beforeEach(() => {
  channels = [];
  stopped = [];
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  mock.method(performance, "now", () => Date.now());
});
afterEach(() => {
  mock.restoreAll();
  mock.timers.reset();
});

/** A channel to the other tabs of a test. A frozen tab neither receives nor acts. */
function newChannel() {
  const channel = {
    isFrozen: false,
    close: () => channels.splice(channels.indexOf(channel), 1),
    postMessage: (data) => {
      const others = channels.filter((other) => other !== channel && !other.isFrozen);
      if (!channel.isFrozen) for (const other of others) other.onmessage({ data: structuredClone(data) });
    },
  };
  channels.push(channel);
  return channel;
}

/** A tab with its own stores, in which notifications are on and permitted. */
function newTab(storage = fakeStorage()) {
  mock.timers.tick(1); // each tab is opened at its own time
  const channel = newChannel();
  const chats = new Chats({ profiles: async () => ({ profiles: [] }) }, { user_id: ADA, name: "ada", display_name: "" });
  chats.profiles.put([{ user_id: MIRA, name: "mira", display_name: "Mira Okafor", about: "" }]);
  const settings = new Settings(storage);
  settings.set("desktop", "on");
  const tabs = new Tabs(channel);
  const did = [];
  const notifier = new Notifier(chats, settings, tabs, {
    permission: () => "granted",
    show: (chat_id, { title, body }) => did.push(`${title}: ${body}`),
    close: (chat_id = "all") => did.push(`close ${chat_id}`),
    playSound: () => did.push("sound"),
  });
  chats.subscribe(() => notifier.chatsChanged());
  const take = () => did.splice(0);
  return { channel, chats, settings, tabs, notifier, take };
}

/** A message arrives in each of these tabs. */
function arrive(minutes, ...tabs) {
  const message = fromWire(wireMessage(minutes));
  for (const { chats, notifier, channel } of tabs) {
    chats.add(message);
    if (!channel.isFrozen) notifier.arrived(message);
  }
}

const read = (minutes, { chats }) => chats.change(markAt(minutes, ADA, { read_up_to: idAt(minutes) }));
const seconds = (count) => mock.timers.tick(count * 1_000);

test("only news is notified of, in the ways that the settings and the browser permit", () => {
  const news = { isUnread: true, isShown: false, desktop: "on", sound: "on", permission: "granted" };
  for (const [change, banner, sound] of [
    [{}, true, true],
    [{ isUnread: false }, false, false],
    [{ isShown: true }, false, false],
    [{ desktop: "unset" }, false, true],
    [{ desktop: "off" }, false, true],
    [{ permission: "denied" }, false, true],
    [{ permission: "default" }, false, true],
    [{ sound: "off" }, true, false],
    [{ sound: "off", desktop: "off" }, false, false],
  ])
    assert.deepEqual(decide({ ...news, ...change }), { banner, sound }, JSON.stringify(change));
});

test("a notification names the sender and the text without markup, unless they are hidden", () => {
  const message = fromWire(wireMessage(1, { body: "**hello**" }));
  const profiles = new Profiles(async () => []);
  const chats = { profiles, titleOf: () => "Team" };
  assert.deepEqual(textsOf(message, chats, "shown"), { title: "New message", body: "hello" });
  profiles.put([{ user_id: MIRA, name: "mira", display_name: "", about: "" }]);
  assert.deepEqual(textsOf(message, chats, "shown"), { title: "mira", body: "hello" });
  assert.deepEqual(textsOf({ ...message, chat_id: "g-1" }, chats, "shown"), { title: "Team", body: "mira: hello" });
  assert.deepEqual(textsOf(message, chats, "hidden"), { title: "Rookery", body: "You have a new message." });
});

test("the page asks after a sent message, and not again after an answer", () => {
  const ready = { hasSent: true, desktop: "unset", permission: "default" };
  assert.ok(shouldAsk(ready));
  for (const change of [{ hasSent: false }, { desktop: "off" }, { permission: "denied" }, { permission: "granted" }])
    assert.ok(!shouldAsk({ ...ready, ...change }));
});

test("a message is notified of once, and what is on the screen not at all", () => {
  const tab = newTab();
  arrive(1, tab);
  seconds(5);
  assert.deepEqual(tab.take(), ["Mira Okafor: text 1", "sound"]);
  tab.tabs.show(CHAT);
  arrive(2, tab);
  seconds(5);
  assert.deepEqual(tab.take(), []);
});

test("a message that stays unread is notified of once, also if it is read again as a missed one", () => {
  const tab = newTab();
  arrive(1, tab);
  seconds(5);
  assert.deepEqual(tab.take(), ["Mira Okafor: text 1", "sound"]);
  arrive(1, tab);
  seconds(5);
  assert.deepEqual(tab.take(), []);
});

test("what is read elsewhere before its turn is not notified of, and closed after it", () => {
  const tab = newTab();
  arrive(1, tab);
  read(1, tab);
  seconds(5);
  assert.deepEqual(tab.take(), []);
  arrive(2, tab);
  seconds(5);
  read(1, tab);
  assert.deepEqual(tab.take(), ["Mira Okafor: text 2", "sound"]);
  read(2, tab);
  assert.deepEqual(tab.take(), [`close ${CHAT}`]);
});

test("messages of a muted chat are not notified of, except a mention that the user wants, also with one after it", () => {
  const tab = newTab();
  const mute = (minutes, except_mentions) =>
    tab.chats.change(changeAt(minutes, 0, { muted: { until_ms: FOR_EVER, except_mentions } }));
  mute(1, false);
  arrive(2, tab);
  seconds(5);
  assert.deepEqual(tab.take(), []);
  mute(3, true);
  const text = { body: "@ada hello", mentions: [{ user_id: ADA, start: 0, length: 4 }] };
  const mention = fromWire({ ...wireMessage(4), text });
  tab.chats.add(mention);
  tab.notifier.arrived(mention);
  arrive(5, tab);
  seconds(5);
  assert.deepEqual(tab.take(), ["Mira Okafor: @ada hello", "sound"]);
});

test("a mute ends by the server's clock, also if that of the device is wrong", () => {
  const tab = newTab();
  tab.chats.clock.set(Date.now() + 3_600_000);
  const mute = (minutes, until_ms) => tab.chats.change(changeAt(minutes, 0, { muted: { until_ms } }));
  mute(1, "3700000");
  arrive(1, tab);
  seconds(5);
  assert.deepEqual(tab.take(), []);
  mute(2, "3600000");
  arrive(2, tab);
  seconds(5);
  assert.deepEqual(tab.take(), ["Mira Okafor: text 2", "sound"]);
});

test("the notification of a message closes once the user is removed from its group, and that of the removal stays until it is read", () => {
  const tab = newTab();
  const [group, settings] = ["g-5", { name: "Crew" }];
  const role = { user_id: ADA, role: "ROLE_MEMBER", spans: [{ first: "1" }] };
  tab.chats.merge([{ chat_id: group, version: "1", settings, own: role }]);
  const add = (minutes, more) => {
    const message = fromWire({ ...wireMessage(minutes), chat_id: group, ...more });
    tab.chats.add(message);
    tab.notifier.arrived(message);
  };
  add(1);
  seconds(5);
  assert.deepEqual(tab.take(), ["Crew: Mira Okafor: text 1", "sound"]);
  const members = [{ user_id: ADA, former_role: "ROLE_MEMBER", spans: [{ first: "1", last: idAt(2) }] }];
  add(2, { text: undefined, control: { version: "2", members } });
  assert.deepEqual(tab.take(), [`close ${group}`]);
  seconds(5);
  assert.deepEqual(tab.take(), ["Crew: Mira Okafor removed you", "sound"]);
  const { event_id, change } = markAt(3, ADA, { read_up_to: idAt(2) });
  tab.chats.change({ event_id, change: { ...change, chat_id: group } });
  assert.deepEqual(tab.take(), [`close ${group}`]);
});

test("a message that is deleted before its turn is not notified of, and closed after it; an edited one has its new text", () => {
  const tab = newTab();
  arrive(1, tab);
  tab.chats.change(changeAt(2, 1, { edited: { text: { body: "better" } } }, MIRA));
  seconds(5);
  assert.deepEqual(tab.take(), ["Mira Okafor: better", "sound"]);
  tab.chats.change(changeAt(3, 1, { deleted: {} }, MIRA));
  assert.deepEqual(tab.take(), [`close ${CHAT}`]);
  arrive(4, tab);
  tab.chats.change(changeAt(5, 4, { deleted: {} }, MIRA));
  seconds(5);
  assert.deepEqual(tab.take(), []);
  arrive(6, tab);
  tab.chats.change(changeAt(7, 6, { hidden: { set: true } }));
  seconds(5);
  assert.deepEqual(tab.take(), [], "another device deleted it for the user");
});

test("of many messages at once the newest is shown, with a pause between two notifications", () => {
  const tab = newTab();
  for (let minutes = 1; minutes <= 60; minutes++) {
    arrive(minutes, tab);
    mock.timers.tick(50);
  }
  const during = tab.take();
  assert.deepEqual(during, ["Mira Okafor: text 4", "sound", "Mira Okafor: text 44", "sound"]);
  seconds(5);
  assert.deepEqual(tab.take(), ["Mira Okafor: text 60", "sound"]);
});

test("of several tabs the one that was used last notifies", () => {
  const tabs = [newTab(), newTab(), newTab()];
  mock.timers.tick(1);
  tabs[1].tabs.used();
  arrive(1, ...tabs);
  seconds(10);
  assert.deepEqual(tabs.map(({ take }) => take().length), [0, 2, 0]);
  tabs[1].tabs.stop();
  arrive(2, tabs[0], tabs[2]);
  seconds(10);
  assert.deepEqual([tabs[0], tabs[2]].map(({ take }) => take().length), [0, 2]);
});

test("the next tab notifies if the one whose turn it is does not", () => {
  const [one, other] = [newTab(), newTab()];
  other.channel.isFrozen = true;
  arrive(1, one, other);
  seconds(1);
  assert.deepEqual(one.take(), []);
  seconds(1);
  assert.deepEqual(one.take(), ["Mira Okafor: text 1", "sound"]);
});

test("a tab that receives the message after another one has handled it does nothing", () => {
  const [one, other] = [newTab(), newTab()];
  arrive(2, other);
  seconds(1);
  arrive(1, one);
  arrive(2, one);
  seconds(10);
  assert.deepEqual(one.take(), []);
  assert.deepEqual(other.take(), ["Mira Okafor: text 2", "sound"]);
});

test("tabs keep their turns while a chat's next notification waits for the pause after the last one", () => {
  const [one, other] = [newTab(), newTab()];
  arrive(1, one, other);
  seconds(0.5);
  arrive(2, one, other);
  seconds(10);
  assert.deepEqual(one.take(), []);
  assert.equal(other.take().filter((entry) => entry.startsWith("Mira")).length, 2);
});

test("what is on the screen of one tab is not notified of in another", () => {
  const [one, other] = [newTab(), newTab()];
  one.tabs.show(CHAT);
  const third = newTab(); // which learns of the message from the answer
  arrive(1, one, other, third);
  seconds(10);
  for (const tab of [one, other, third]) assert.deepEqual(tab.take(), []);
  one.tabs.leave();
  arrive(2, other, third);
  seconds(10);
  assert.deepEqual([other, third].map(({ take }) => take().length), [0, 2]);
});

test("a tab that has crashed with a chat on its screen keeps no other from notifying of it, and one that has not does", () => {
  const [crashed, other] = [newTab(), newTab()];
  crashed.tabs.show(CHAT);
  crashed.channel.isFrozen = true;
  arrive(1, other);
  seconds(10);
  assert.equal(other.take().length, 2);
  assert.equal(other.tabs.isShown(CHAT), false);
  crashed.channel.isFrozen = false; // it only was slow
  crashed.tabs.used();
  arrive(2, other);
  seconds(10);
  assert.deepEqual([other.take(), other.tabs.isShown(CHAT)], [[], true]);
});

test("a tab that is brought back is known again, and a browser without channels has one tab", () => {
  const [one, other] = [newTab(), newTab()];
  other.tabs.leave();
  assert.equal(one.tabs.turn, 0);
  other.tabs.announce();
  assert.deepEqual([one.tabs.turn, other.tabs.turn], [1, 0]);
  const alone = new Tabs(null);
  alone.used();
  alone.show(CHAT);
  alone.handled({ chat_id: CHAT, message_id: "1", isNotified: true });
  assert.deepEqual([alone.turn, alone.isShown(CHAT), alone.isShown("other")], [0, true, false]);
  alone.stop();
});

test("after the end nothing is shown any more, and all that is shown is closed, also by other tabs and former pages", () => {
  const tab = newTab();
  arrive(1, tab);
  seconds(3);
  tab.take();
  arrive(2, tab);
  tab.notifier.stop();
  seconds(5);
  assert.deepEqual(tab.take(), ["close all"]);
});
