// Groups: permissions, the fold of control changes in any order, rosters, and the lines about changes.

import { isGroup } from "../../../web/ids.js";
import assert from "node:assert/strict";
import test, { afterEach, beforeEach, mock } from "node:test";
import { Problem } from "../../../web/api.js";
import { emptyChat, inOrder, withChatChanges, withMessage } from "../../../web/chats.js";
import { controlTexts } from "../../../web/controls.js";
import { toDays } from "../../../web/days.js";
import { isFormer, may, PERMISSIONS, permissionsOf, withControl } from "../../../web/groups.js";
import { readUpTo } from "../../../web/kinds/marked.js";
import { fromWire } from "../../../web/messages.js";
import { firstUnread } from "../../../web/message-window.js";
import { Profiles } from "../../../web/profiles.js";
import { Rosters } from "../../../web/rosters.js";
import { Chats } from "../../../web/stores/chats.js";
import { Typing } from "../../../web/typing.js";
import { typingText } from "../../../web/components/typing-text.js";
import { ADA, idAt, markAt, MIRA, settle, wireMessage } from "./fakes.js";

const GRACE = "13";
const GROUP = "g-5";
const { POST, REACT, PIN, MANAGE } = PERMISSIONS;
const settings = (changes = {}) => ({ name: "Team", permissions: "31", ...changes });
const open = (minute) => [{ first: idAt(minute) }];
const member = (user_id, role, others = {}) => ({ user_id, role: `ROLE_${role}`, ...others });

/** A group that Mira creates with Ada, in which Grace comes and Ada goes and comes back. */
const CONTROLS = [
  { version: "1", settings: settings(), members: [member(MIRA, "OWNER", { spans: open(1) }), member(ADA, "MEMBER", { spans: open(1) })] },
  { version: "2", members: [member(GRACE, "GUEST", { spans: open(2) })] },
  { version: "3", settings: settings({ name: "Crew", shows_history: true }), changed: ["name", "shows_history"] },
  { version: "4", members: [{ user_id: ADA, former_role: "ROLE_MEMBER", spans: [{ first: idAt(1), last: idAt(4) }] }] },
  { version: "5", members: [member(ADA, "ADMIN", { spans: [{ first: idAt(1), last: idAt(4) }, { first: idAt(5) }] })] },
]; // prettier-ignore
const controlAt = (minute, control = CONTROLS[minute - 1], sender_id = MIRA) => ({
  ...wireMessage(minute, { sender_id }),
  ...{ chat_id: GROUP, text: undefined, control },
});
const sent = (minute, options) => fromWire({ ...wireMessage(minute, options), chat_id: GROUP });
const folded = (controls, chat = emptyChat(GROUP, [])) => controls.reduce((all, one) => withControl(all, one, ADA), chat);
/** Lets the page's timers of this time end, one after the other. */
async function pass(ms) {
  for (let passed = 0; passed < ms; passed += 250) {
    mock.timers.tick(250);
    await settle();
  }
}
/** The group as the archive returns it after a version. */
const wireChat = (version) => {
  const { group } = folded(CONTROLS.slice(0, version));
  return { chat_id: GROUP, ...group, newest: { message: controlAt(version) } };
};

beforeEach(() => mock.timers.enable({ apis: ["setTimeout"] }));
afterEach(() => mock.timers.reset());

test("an id is that of a group only in its one form", () => {
  for (const [id, expected] of [["g-5", true], ["g-05", false], ["g-", false], ["d-7-11", false], ["xg-5", false]])
    assert.equal(isGroup(id), expected, id); // prettier-ignore
});

test("permissions follow from the role, then from those that only the member has or lacks", () => {
  for (const [role, others, expected] of [
    ["OWNER", { deny: "1" }, 511],
    ["ADMIN", {}, 511],
    ["ADMIN", { deny: String(MANAGE) }, 511 - MANAGE],
    ["MEMBER", {}, 31],
    ["MEMBER", { allow: String(MANAGE), deny: String(POST | 1024) }, 30 + MANAGE],
    ["GUEST", {}, POST | REACT],
    ["GUEST", { allow: String(PIN) }, POST | REACT | PIN],
    ["UNSPECIFIED", { allow: "511" }, 0],
  ])
    assert.equal(permissionsOf(settings(), member(ADA, role, others)), expected, JSON.stringify([role, others]));
  assert.deepEqual([may(emptyChat("d-7-11", []), "PIN"), may(emptyChat("d-7-11", []), "MANAGE")], [true, false]);
  assert.equal(may(emptyChat(GROUP, []), "POST"), false);
});

test("control changes give the same group in any order, and repetitions change nothing", () => {
  const { group } = folded(CONTROLS);
  assert.deepEqual([group.version, group.settings.name, group.member_count, group.own.role], ["5", "Crew", 3, "ROLE_ADMIN"]);
  for (const order of [[4, 3, 2, 1, 0], [2, 0, 4, 1, 3], [1, 0, 0, 3, 2, 1, 4, 3]]) {
    const chat = folded(order.map((at) => CONTROLS[at]));
    assert.deepEqual(chat.group, group);
    assert.deepEqual(chat.later, []);
  } // prettier-ignore
  assert.ok(isFormer(folded(CONTROLS.slice(0, 4))));
});

test("a change after a missing one waits, and is applied to the state that the server returns", () => {
  const chats = new Chats({ chat: async () => wireChat(4) }, { user_id: ADA });
  chats.merge([wireChat(2)]);
  chats.merge([wireChat(1)]); // an archive that lags
  assert.equal(chats.of(GROUP).group.version, "2");
  chats.add(fromWire(controlAt(5)));
  assert.equal(chats.of(GROUP).group.version, "2");
  chats.merge([wireChat(4)]);
  const { group, later } = chats.of(GROUP);
  assert.deepEqual([group.version, group.own.role, later.length], ["5", "ROLE_ADMIN", 0]);
});

test("a group to which the user is added is read until the archive has it, and is in the list at once", async () => {
  let requests = 0;
  const chat = async () => {
    if (++requests === 1) throw new Problem(404, { code: "not_found" });
    return wireChat(5);
  };
  const chats = new Chats({ chat, profiles: async () => ({ profiles: [] }) }, { user_id: ADA });
  chats.add(fromWire(controlAt(5)));
  assert.deepEqual(inOrder([chats.of(GROUP)]).map(({ chat_id }) => chat_id), [GROUP]);
  await pass(500);
  assert.equal(chats.titleOf(GROUP), "");
  await pass(250);
  assert.equal(chats.titleOf(GROUP), "Crew");
  await pass(2_000);
  assert.equal(requests, 2);
});

test("a group that is not the user's is missing, and is asked for once", async () => {
  let requests = 0;
  const refuse = async () => {
    requests++;
    throw new Problem(404, { code: "not_found" });
  };
  const chats = new Chats({ chat: refuse, messages: refuse, messagesHaving: refuse }, { user_id: ADA });
  chats.open(GROUP);
  await pass(2_000);
  assert.ok(chats.isMissing(GROUP));
  assert.ok(requests <= 5); // the group, its messages and its pins
});

test("a new group is whole without a request, and is read again once the user may read more of it", async () => {
  for (const arriving of [[2, 3, 4, 5], [2, 5]]) {
    const read = [];
    const messages = async (chat_id) => {
      read.push(chat_id);
      return { messages: [1, 3, 5].map((minute) => ({ message: controlAt(minute) })) };
    };
    const nothing = async () => ({ profiles: [] });
    const api = { messages, messagesHaving: messages, members: messages, chat: async () => wireChat(5), profiles: nothing };
    const chats = new Chats(api, { user_id: ADA });
    chats.add(fromWire(controlAt(1)));
    assert.deepEqual([chats.conversations.of(GROUP).phase, chats.conversations.of(GROUP).hasNewer], ["ready", false]);
    chats.open(GROUP);
    await chats.rosters.load(GROUP);
    await settle();
    assert.deepEqual(read, []);
    assert.deepEqual(chats.memberIds(GROUP), [MIRA, ADA]);
    for (const minute of arriving) chats.add(fromWire(controlAt(minute)));
    await pass(500);
    assert.deepEqual([chats.isClosed(GROUP), new Set(read)], [false, new Set([GROUP])]);
  }
}); // prettier-ignore

test("a search loads the further pages of the list, until there is none or the server is away", async () => {
  const pageOf = (number, next_cursor) => ({ chats: [{ ...wireChat(1), chat_id: `g-${number}` }], next_cursor });
  const answers = [pageOf(1, "a"), pageOf(2, "b"), undefined, pageOf(3, "")];
  const chats = new Chats({ chats: async () => answers.shift(), chat: async () => wireChat(1) }, { user_id: ADA });
  const counts = [];
  for (const load of ["load", "loadSearched", "loadSearched", "loadSearched"]) {
    await chats[load]();
    counts.push(chats.all.length);
  }
  assert.deepEqual(counts, [1, 2, 3, 3]);
});

test("a request to join that is not accepted adds no chat to the list", () => {
  const chats = new Chats({}, { user_id: ADA });
  for (const changes of [{ asked_at_ms: "5" }, {}])
    chats.add(fromWire(controlAt(6, { version: "6", members: [member(ADA, "UNSPECIFIED", changes)] })));
  assert.deepEqual(chats.all, []);
});

test("what was sent before the user joined is not unread", () => {
  const chat = [controlAt(2), controlAt(5)].reduce((all, one) => withMessage(all, fromWire(one), ADA), folded(CONTROLS.slice(0, 1)));
  assert.equal(readUpTo({ ...chat, ...folded(CONTROLS) }, ADA), String(BigInt(idAt(5)) - 1n));
  const read = new Chats({}, { user_id: ADA });
  read.merge([wireChat(5)]);
  read.change(markAt(9, ADA, { read_up_to: idAt(6) })); // in another chat
  assert.equal(readUpTo(read.of(GROUP), ADA), String(BigInt(idAt(5)) - 1n));
});

test("nothing is unread for a user who was removed, also if they read on, until they are a member again", () => {
  const before = { ...folded(CONTROLS.slice(0, 3)), newest: sent(3), unread: 7, unread_mentions: 1 };
  const removed = withMessage(before, fromWire(controlAt(4)), ADA);
  assert.deepEqual([removed.newest.message_id, removed.unread, removed.unread_mentions], [idAt(4), 0, 0]);
  const loaded = { messages: [sent(1), sent(2), sent(3)], hasOlder: false, hasNewer: false };
  assert.equal(withChatChanges(removed, [markAt(9, ADA, { read_up_to: idAt(1) })], ADA, loaded).unread, 0);
  assert.equal(withMessage(removed, fromWire(controlAt(5)), ADA).unread, 1);
});

test("of control changes only the one by which another member adds the user is unread", () => {
  const counts = (events) => {
    const chat = events.reduce((all, one) => withMessage(all, fromWire(one), ADA), emptyChat(GROUP, []));
    const loaded = { messages: events.map(fromWire), hasOlder: false, hasNewer: false };
    const marked = withChatChanges(chat, [markAt(9, ADA, { read_up_to: String(BigInt(idAt(1)) - 1n) })], ADA, loaded);
    return [chat.unread, marked.unread];
  };
  assert.deepEqual(counts(CONTROLS.slice(0, 3).map((control, at) => controlAt(at + 1, control))), [1, 1]);
  const joined = { version: "1", members: [member(ADA, "MEMBER", { spans: open(1) })] };
  assert.deepEqual(counts([controlAt(1, joined, ADA), controlAt(2)]), [0, 0]);
  const message = { ...wireMessage(3), chat_id: GROUP };
  assert.deepEqual(counts([controlAt(1, joined, ADA), controlAt(2), message]), [1, 1]);
});

test("a group opens at its first unread message, not at a control change above it", () => {
  const messages = [fromWire(controlAt(1)), fromWire(controlAt(2)), sent(3)];
  const chat = folded(CONTROLS.slice(0, 2));
  assert.deepEqual([0, 1].map((minute) => firstUnread(messages, chat, ADA, idAt(minute))), [0, 2]);
});

test("a control change is a line of its own, between runs of messages", () => {
  const messages = [sent(1), fromWire(controlAt(2)), sent(3), sent(4)];
  const [{ rows }] = toDays(messages, ADA, { start: 0, end: 4, unreadKey: "" });
  assert.deepEqual(rows.map(({ kind, first, last }) => [kind, first, last]), [
    ["message", true, true],
    ["control", undefined, undefined],
    ["message", true, false],
    ["message", false, true],
  ]);
});

test("a line says who changed what, to the reader themselves as you", () => {
  const profiles = new Profiles(async () => [], ADA);
  profiles.put([[ADA, "Ada"], [MIRA, "Mira"], [GRACE, "Grace"]].map(([user_id, display_name]) => ({ user_id, display_name, name: "" }))); // prettier-ignore
  const made = (user_id, role, former) => ({ version: "9", members: [member(user_id, role, { former_role: `ROLE_${former}` })] });
  const handed = { version: "9", members: [member(MIRA, "ADMIN", { former_role: "ROLE_OWNER" }), member(GRACE, "OWNER", { former_role: "ROLE_MEMBER" })] };
  const added = (...ids) => ({ version: "9", members: ids.map((user_id) => member(user_id, "MEMBER")) });
  const set = (changed, changes) => ({ version: "9", changed, settings: settings(changes) });
  for (const [sender_id, control, ...expected] of [
    [MIRA, CONTROLS[0], "Mira created the group “Team”"],
    [ADA, CONTROLS[0], "You created the group “Team”"],
    [ADA, { ...CONTROLS[0], settings: { name: "News", is_channel: true } }, "You created the channel “News”"],
    [MIRA, set(["is_channel"], { is_channel: true }), "Mira made the group a channel"],
    [MIRA, CONTROLS[1], "Mira added Grace"],
    [ADA, CONTROLS[1], "You added Grace"],
    [MIRA, CONTROLS[4], "Mira added you"],
    [MIRA, added(ADA, GRACE, "21", "22"), "Mira added you and 3 others"],
    [MIRA, added(GRACE, "21", "22", "23", "24"), "Mira added Grace, Someone, Someone, and 2 others"],
    [GRACE, added(GRACE), "Grace joined the group"],
    [MIRA, CONTROLS[3], "Mira removed you"],
    [ADA, CONTROLS[3], "You left the group"],
    [GRACE, made(GRACE, "UNSPECIFIED", "GUEST"), "Grace left the group"],
    [MIRA, CONTROLS[2], "Mira changed the name to “Crew”", "Mira let new members read earlier messages"],
    [ADA, set(["topic"], { topic: "Nests" }), "You changed the topic to “Nests”"],
    [MIRA, set(["topic"], {}), "Mira removed the topic"],
    [MIRA, set(["permissions"], {}), "Mira changed the permissions of members"],
    [ADA, set(["shows_history"], {}), "You hid earlier messages from new members"],
    [ADA, made(GRACE, "ADMIN", "MEMBER"), "You made Grace an admin"],
    [MIRA, made(ADA, "GUEST", "MEMBER"), "Mira made you a guest"],
    [MIRA, made(GRACE, "MEMBER", "MEMBER"), "Mira changed the permissions of Grace"],
    [MIRA, handed, "Mira made Grace the owner"],
    [GRACE, { version: "9", members: [member(GRACE, "GUEST", { invite_id: "4" })], invites: [{ invite_id: "4" }] }, "Grace joined by an invite link"],
    [GRACE, { version: "9", members: [member(GRACE, "UNSPECIFIED", { asked_at_ms: "5" })] }, "Grace asked to join"],
    [GRACE, { version: "9", members: [member(GRACE, "UNSPECIFIED", { asked_at_ms: "5" }), member("21", "UNSPECIFIED")] }, "Grace asked to join"],
    [GRACE, { version: "9", members: [member(GRACE, "UNSPECIFIED")] }, "Grace took back the request to join"],
    [MIRA, { version: "9", members: [member(GRACE, "UNSPECIFIED")] }, "Mira declined the request of Grace"],
    [ADA, { version: "9", invites: [{ invite_id: "5" }] }, "You created an invite link"],
    [MIRA, { version: "9", invites: [{ invite_id: "4", is_revoked: true }] }, "Mira ended an invite link"],
    [MIRA, set(["is_public", "asks_to_join"], { is_public: true }), "Mira made the group public", "Mira turned approval of new members off"],
    [MIRA, set(["without_previews"], { without_previews: true }), "Mira turned previews of links off"],
    [MIRA, { version: "9" }, "Mira changed the group"],
  ])
    assert.deepEqual(controlTexts({ sender_id, message_id: "5" }, control, profiles), expected);
});

test("members are read until they are of the group's version, and follow the changes that arrive", async () => {
  const pages = [
    { version: "1", members: [member(ADA, "MEMBER")], has_more: true },
    { version: "2", members: [member(MIRA, "OWNER")] }, // it has changed meanwhile
    { version: "2", members: [member(ADA, "MEMBER")], has_more: true },
    { version: "2", members: [member(GRACE, "GUEST")] },
    { version: "3", members: [member(ADA, "MEMBER"), member(GRACE, "GUEST"), member(MIRA, "OWNER")] },
  ];
  const rosters = new Rosters(async () => pages.shift(), () => "3");
  const loading = rosters.load(GROUP);
  await settle();
  assert.equal(rosters.of(GROUP).members.length, 2);
  mock.timers.tick(500);
  await loading;
  const ids = () => rosters.of(GROUP).members.map(({ user_id }) => user_id);
  assert.deepEqual([rosters.of(GROUP).phase, ids()], ["ready", [MIRA, ADA, GRACE]]);
  rosters.fold(GROUP, CONTROLS[3]);
  assert.deepEqual(ids(), [MIRA, GRACE]);
  rosters.fold(GROUP, CONTROLS[1]); // an old one
  assert.deepEqual(ids(), [MIRA, GRACE]);
  await rosters.load(GROUP);
});

test("the members of a channel that was taken for a group are not loaded whole", async () => {
  let at = 0;
  const page = () => ({ version: "1", has_more: true, members: Array.from({ length: 500 }, () => member(String(++at), "MEMBER")) });
  const rosters = new Rosters(async () => page(), () => "1");
  await rosters.load(GROUP);
  assert.deepEqual([rosters.of(GROUP).members.length, at], [1_000, 1_000]);
});

test("several members are typing in one line", () => {
  const typing = new Typing();
  const profiles = new Profiles(async () => []);
  profiles.put([[MIRA, "Mira"], [GRACE, "Grace"]].map(([user_id, display_name]) => ({ user_id, display_name, name: "" }))); // prettier-ignore
  const line = () => typingText({ typing, profiles }, GROUP);
  for (const [user_id, expected] of [
    [MIRA, "Mira is typing…"],
    [GRACE, "Mira and Grace are typing…"],
    ["21", "Mira and 2 others are typing…"],
  ]) {
    typing.show(GROUP, user_id);
    assert.equal(line(), expected);
  }
  typing.hide(GROUP, MIRA);
  assert.equal(line(), "Grace and Someone are typing…");
  mock.timers.tick(6_000);
  assert.equal(line(), "");
});

test("members are read again after a control change that follows a missing one", async () => {
  const pages = [{ version: "1", members: [member(MIRA, "OWNER")] }, { version: "3", members: [member(ADA, "MEMBER")] }];
  const rosters = new Rosters(async () => pages.shift(), () => "1");
  await rosters.load(GROUP);
  rosters.fold(GROUP, { version: "3", members: [member(ADA, "MEMBER")] });
  await settle();
  assert.deepEqual(rosters.of(GROUP).members.map(({ user_id }) => user_id), [ADA]);
});
