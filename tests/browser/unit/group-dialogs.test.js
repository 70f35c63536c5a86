// What the dialogs of groups decide: who may do what, what a form sends, and what happens when others are faster.

import assert from "node:assert/strict";
import test, { mock } from "node:test";
import { NoResponse, Problem } from "../../../web/api.js";
import { GroupMembers, inOrder } from "../../../web/components/group-members.js";
import { InviteLinks } from "../../../web/components/invite-links.js";
import { JoinRequests } from "../../../web/components/join-requests.js";
import { MemberRights } from "../../../web/components/member-rights.js";
import { InvitedGroup } from "../../../web/components/open-group.js";
import { SeenBy } from "../../../web/components/seen-by.js";
import { actionsOn } from "../../../web/group-actions.js";
import { fits, GroupChanges, refusedSetting, refusedUser } from "../../../web/group-changes.js";
import { bodyOf, GroupDraft, valuesOf } from "../../../web/group-draft.js";
import { withControl } from "../../../web/groups.js";
import { dialogTexts } from "../../../web/languages/dialogs.js";
import { texts } from "../../../web/languages/language.js";
import { Store } from "../../../web/stores/store.js";
import { nodesIn, settle, usePage, withDialogs } from "./fakes.js";

const GROUP = "g-5";
const member = (user_id, name, more = {}) => ({ user_id, role: `ROLE_${name}`, ...more });
const roles = (...names) => names.map((name) => `ROLE_${name}`);
const settings = { name: "Team", topic: "Work", permissions: "31" };

test("members act on those below them, up to their own role and with the permission for it", () => {
  const [owner, admin, plain, guest] = roles("OWNER", "ADMIN", "MEMBER", "GUEST").map((role, at) => ({ user_id: `${at}`, role }));
  const manager = { ...plain, user_id: "8", allow: "128" };
  const tamed = { ...admin, user_id: "9", deny: "192" };
  for (const [own, other, given, canGetGroup, canBeRemoved] of [
    [owner, admin, roles("MEMBER", "GUEST"), true, true],
    [owner, guest, roles("ADMIN", "MEMBER"), true, true],
    [admin, plain, roles("ADMIN", "GUEST"), false, true],
    [admin, owner, [], false, false],
    [admin, { ...admin, user_id: "7" }, [], false, false],
    [owner, owner, [], false, false],
    [plain, guest, [], false, false],
    [manager, guest, roles("MEMBER"), false, false],
    [tamed, guest, [], false, false],
  ])
    assert.deepEqual(actionsOn(settings, own, other), { roles: given, canGetGroup, canBeRemoved, canGetRights: given.length > 0 });
});

test("the owner and the admins are first, then all by name", () => {
  const names = { 1: "Zoe", 2: "Ada", 3: "Émile", 4: "Frank", 5: "Bo" };
  const members = [member("1", "MEMBER"), member("2", "GUEST"), member("3", "MEMBER"), member("4", "ADMIN"), member("5", "OWNER")];
  const listed = inOrder(members, (user_id) => names[user_id]).map(({ user_id }) => names[user_id]);
  assert.deepEqual(listed, ["Bo", "Frank", "Ada", "Émile", "Zoe"]);
});

test("an untouched input follows the others' changes; a touched one stays, and the present value is shown", () => {
  const draft = new GroupDraft(valuesOf(settings));
  const entered = { ...valuesOf(settings), name: "My team", PIN: false };
  const others = { ...settings, name: "Our team", topic: "Play", permissions: "29", is_public: true };
  const { given, meanwhile } = draft.follow(valuesOf(others), entered);
  assert.deepEqual([given, meanwhile], [{ topic: "Play", REACT: false, is_public: true }, ["name"]]);
  Object.assign(entered, given);
  assert.deepEqual(draft.follow(valuesOf(others), entered).given, {});
  const changed = draft.changed(valuesOf(others), entered);
  assert.deepEqual(changed, { name: "My team", PIN: false });
  assert.deepEqual(bodyOf({ ...others, permissions: "4611686018427387933" }, changed), {
    ...{ name: "My team", permissions: "4611686018427387929" },
  });
  assert.deepEqual(draft.changed({ ...valuesOf(others), name: "My team", PIN: false }, entered), {});
  assert.deepEqual(bodyOf(others, { is_public: false, asks_to_join: true }), { is_public: false, asks_to_join: true });
});

/** A server with one group, which the test changes; and the chats of a page that knows its first version. */
function page() {
  const server = { version: "1", settings, requests: [], failures: [] };
  let group = { ...server };
  const api = {
    chat: async () => ({ ...server }),
    changeGroup: async (_, { expected_version, client_change_id, ...body }) => {
      server.requests.push({ expected_version, client_change_id, ...body });
      const failure = server.failures.shift();
      if (failure) throw failure;
      if (expected_version !== server.version) throw new Problem(409, { code: "version_conflict" });
      return { event_id: "9" };
    },
  };
  const received = [];
  const chats = {
    of: () => ({ group }),
    merge: ([chat]) => void (group = chat),
    received: (event) => received.push(event),
  };
  return { server, received, chats, changes: new GroupChanges(api, chats, GROUP) };
}

test("a form is saved although others changed another setting; not if they changed the same one", async () => {
  const { server, received, chats, changes } = page();
  const draft = new GroupDraft(valuesOf(settings));
  const entered = { ...valuesOf(settings), name: "My team" };
  Object.assign(server, { version: "2", settings: { ...settings, topic: "Play" } });
  await changes.saveSettings(draft, entered);
  assert.deepEqual(server.requests.map(({ expected_version, name, topic }) => [expected_version, name, topic]), [
    ["1", "My team", undefined],
    ["2", "My team", undefined],
  ]);
  assert.equal(received.length, 1);
  Object.assign(server, { version: "3", settings: { ...settings, name: "Our team" } });
  await assert.rejects(changes.saveSettings(draft, entered), { code: "version_conflict" });
  assert.equal(chats.of().group.settings.name, "Our team");
  await changes.saveSettings(draft, entered); // the user has seen it
  assert.equal(received.length, 2);
});

test("a retry has the client id of the first attempt; another change, and one after others, have their own", async () => {
  const { server, chats, changes } = page();
  server.failures = [new NoResponse(), new NoResponse()];
  const save = (name) => changes.saveSettings(new GroupDraft(valuesOf(settings)), { name });
  await assert.rejects(save("One"), NoResponse);
  await assert.rejects(save("Two"), NoResponse);
  await save("Two");
  await save("Two");
  server.failures = [new NoResponse()];
  await assert.rejects(save("Three"), NoResponse);
  Object.assign(server, { version: "2" });
  chats.merge([server]);
  await save("Three");
  const [one, two, again, next, three, later] = server.requests.map(({ client_change_id }) => client_change_id);
  assert.equal(again, two);
  assert.equal(new Set([one, two, next, three, later]).size, 5);
});

test("a change whose first attempt had other contents, and whose answer was lost, is repeated as another change", async () => {
  const [first, used] = [new NoResponse(), new Problem(400, { code: "invalid", field: "client_change_id" })];
  const changes = new GroupChanges({}, {});
  const ids = [];
  const create = (...answers) =>
    changes.request(["create"], async ({ client_change_id }) => {
      ids.push(client_change_id);
      const answer = answers.shift();
      if (answer instanceof Error) throw answer;
      return answer;
    });
  await assert.rejects(create(first), NoResponse);
  assert.equal(await create(used, "created"), "created");
  assert.deepEqual([ids[0] === ids[1], ids[1] === ids[2]], [true, false]);
  await assert.rejects(create(used, used), Problem);
});

test("texts are limited in bytes, and refusals name the setting or the user", () => {
  assert.deepEqual([fits("name", "ä".repeat(64)), fits("name", "ä".repeat(65)), fits("topic", "a".repeat(1_024))], [true, false, true]);
  const refusal = (code, field) => new Problem(400, { code, field });
  assert.equal(refusedSetting(refusal("invalid", "change_settings.topic")), "topic");
  assert.equal(refusedSetting(refusal("forbidden", "name")), "");
  assert.equal(refusedUser(refusal("not_found", "user_ids[1]"), ["7", "8"]), "8");
  assert.equal(refusedUser(new NoResponse(), ["7"]), "");
});

test("the members of a dialog that is closed are not watched any more, also if it is rendered once more", () => {
  const watched = [];
  const profiles = Object.assign(new Store(), { get: () => ({ display_name: "Ada", name: "ada" }) });
  const presence = { watch: (part, user_ids) => watched.push(user_ids), isOnline: () => false };
  const rosters = { of: () => ({ phase: "ready", members: [member("1", "OWNER")] }) };
  const chats = { me: { user_id: "1" }, isChannel: () => false, profiles, presence, rosters };
  const element = Object.assign(new EventTarget(), { isConnected: true });
  const members = new GroupMembers({ chats }, { element }, GROUP, () => []);
  members.view();
  element.isConnected = false;
  element.dispatchEvent(new Event("close"));
  members.view();
  assert.deepEqual(watched, [["1"], [], []]);
});

test("the readers of a message are read again as long as the dialog is on the page: not after the sign-in has ended", async (context) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  Object.assign(globalThis, { document: withDialogs(), requestAnimationFrame: () => {} });
  context.after(() => {
    mock.timers.reset();
    delete globalThis.document;
    delete globalThis.requestAnimationFrame;
  });
  let requests = 0;
  const api = { signedIn: async () => (requests++, {}) };
  const chats = Object.assign(new Store(), { me: { user_id: "1" } });
  const dialog = new SeenBy({ api, chats }, { chat_id: GROUP, message_id: "5", sender_id: "1" });
  dialog.open();
  for (let turn = 0; turn < 3; turn++) {
    await settle();
    mock.timers.tick(5_000);
  }
  await settle();
  assert.equal(requests, 4);
  document.body.removeChild(dialog.element); // as the sign-in takes the place of the chats
  for (let turn = 0; turn < 3; turn++) {
    mock.timers.tick(5_000);
    await settle();
  }
  assert.ok(requests <= 5, String(requests));
});

const [ME, ADA] = ["1", "2"];

/** The chats of a page with one group, of which the test changes the state. */
function groupChats(own, more = {}) {
  let chat = { chat_id: GROUP, group: { version: "7", settings, member_count: 50, own: { user_id: ME, ...own }, ...more }, later: [] };
  const profiles = { get: (user_id) => ({ user_id, display_name: "Ada", name: "ada" }) };
  const set = (after) => ((chat = after), chats.changed());
  const chats = Object.assign(new Store(), {
    ...{ me: { user_id: ME }, of: () => chat, profiles, received() {} },
    control: (control) => set(withControl(chat, control, ME)),
    change: (changes) => set({ ...chat, group: { ...chat.group, ...changes } }),
  });
  return chats;
}

/** Opens a dialog; `press` presses the button with this text or label, `send` sends its form. */
function opened(dialog) {
  dialog.open();
  const find = (isIt) => nodesIn(dialog.element).find((node) => node.tagName && isIt(node));
  const isNamed = (node, name) => [node.textContent, node.getAttribute("aria-label")].includes(name);
  const press = (name) => (find((node) => node.tagName === "button" && isNamed(node, name)).dispatch("click"), settle());
  const form = () => find(({ tagName }) => tagName === "form");
  const send = () => (form().dispatch("submit"), settle());
  return { press, form, send, text: () => dialog.element.textContent };
}

const refuse = (status, code) => Promise.reject(new Problem(status, { code, message: "No." }));

test("of the permissions of a member only the chosen ones are saved, over those that others have set meanwhile", async (context) => {
  usePage(context);
  const requests = [];
  const failures = [new Problem(409, { code: "version_conflict" })];
  const changeMember = async (...request) => {
    requests.push(request);
    const [failure] = failures.splice(0);
    if (failure) throw failure;
    return { event_id: "9" };
  };
  mock.timers.enable({ apis: ["setTimeout"] });
  context.after(() => mock.timers.reset());
  const versions = ["8", "6", "8"]; // once the archive lags behind the page
  const signedIn = async (...request) => {
    requests.push(request);
    const version = versions.shift();
    return { version, members: [member(ADA, "MEMBER", { deny: version === "8" ? "1" : "0" })] };
  };
  let saved = 0;
  const app = { api: { signedIn, changeMember }, chats: groupChats(member(ME, "OWNER")) };
  const { form, send, text } = opened(new MemberRights(app, GROUP, member(ADA, "MEMBER"), "Ada", () => saved++));
  form().elements.namedItem("PIN").value = "allow";
  await send();
  assert.ok(text().includes(texts.refused.version_conflict));
  assert.equal(saved, 0);
  requests.length = 0;
  await send();
  mock.timers.tick(250);
  await settle();
  const [, read, [chat_id, user_id, { client_change_id, ...change }]] = requests;
  assert.deepEqual([read, chat_id, user_id], [["GET", `/v1/chats/${GROUP}/members?user_ids=${ADA}`], GROUP, ADA]);
  assert.deepEqual([change, saved], [{ expected_version: "8", allow: "4", deny: "1" }, 1]);
});

test("permissions that the member has already, as after a lost answer, are saved without a further request", async (context) => {
  usePage(context);
  const requests = [];
  let present = member(ADA, "MEMBER");
  const changeMember = async (chat_id, user_id, { allow, deny }) => {
    requests.push({ allow, deny });
    present = { ...present, allow, deny };
    throw new NoResponse();
  };
  const signedIn = async () => ({ version: "8", members: present ? [present] : [] });
  let saved = 0;
  const app = { api: { signedIn, changeMember }, chats: groupChats(member(ME, "OWNER")) };
  const { form, send } = opened(new MemberRights(app, GROUP, present, "Ada", () => saved++));
  form().elements.namedItem("PIN").value = "allow";
  await send();
  assert.deepEqual([requests, saved], [[{ allow: "4", deny: "0" }], 0]);
  await send();
  assert.deepEqual([requests.length, saved], [1, 1]);
  const untouched = opened(new MemberRights(app, GROUP, present, "Ada", () => saved++));
  await untouched.send();
  assert.deepEqual([requests.length, saved], [1, 2]);
  const left = opened(new MemberRights(app, GROUP, member(ADA, "MEMBER", { deny: "4" }), "Ada", () => saved++));
  left.form().elements.namedItem("PIN").value = "role";
  present = undefined;
  await left.send();
  assert.deepEqual([requests.length, saved], [2, 2], "the server refuses a change of a user who has left");
});

test("the answer of the creation of an invite link may be lost: the next try creates no other link", async (context) => {
  usePage(context);
  Object.assign(globalThis, { location: { origin: "https://rookery.example" } });
  context.after(() => delete globalThis.location);
  const ids = [];
  const signedIn = async (method, _, body) => {
    if (method === "GET") return { version: "99", invites: [] };
    if (ids.push(body.client_change_id) === 1) throw new NoResponse();
    return { invite: {}, token: "t" };
  };
  const chats = groupChats(member(ME, "OWNER"));
  const { send } = opened(new InviteLinks({ api: { signedIn }, chats }, GROUP));
  await send();
  chats.control({ version: "8" });
  await send();
  await send();
  assert.deepEqual([ids.length, ids[1] === ids[0], ids[2] === ids[0]], [3, true, false]);
});

test("a guest who may add users creates no links, which add members", async (context) => {
  usePage(context);
  const signedIn = async () => ({ version: "7", invites: [] });
  const formOf = (own) => opened(new InviteLinks({ api: { signedIn }, chats: groupChats(own) }, GROUP)).form();
  assert.equal(formOf(member(ME, "GUEST", { allow: "8" })), undefined);
  assert.ok(formOf(member(ME, "MEMBER", { allow: "8" })));
});

test("requests to join are shown to those who may accept them, and a group is called full only if it is", async (context) => {
  usePage(context);
  const signedIn = async () => ({ version: "99", requests: [{ user_id: ADA, asked_at_ms: "0" }] });
  const chats = groupChats(member(ME, "MEMBER", { allow: "8" }));
  const { press, text } = opened(new JoinRequests({ api: { signedIn, addMembers: () => refuse(400, "too_large") }, chats }, GROUP));
  await settle();
  const { accept, acceptOf } = dialogTexts.joinRequests;
  const [full, fullChannel] = [dialogTexts.group.full(1_000), dialogTexts.channel.full(100_000)];
  for (const [changes, words] of [
    [{}, texts.refused.too_large],
    [{ member_count: 1_000 }, full],
    [{ settings: { ...settings, is_channel: true } }, texts.refused.too_large],
    [{ member_count: 100_000 }, fullChannel],
  ]) {
    chats.change(changes);
    await press(acceptOf("Ada"));
    assert.ok(text().includes(words), words);
  }
  assert.ok(text().includes(accept));
  chats.control({ version: "8", members: [member(ME, "MEMBER", { deny: "8" })] });
  await settle();
  assert.ok(!text().includes("Ada"));
  assert.ok(text().includes(dialogTexts.groupAdd.forbidden));
});

test("a guest who may add users adds them as guests: people, and those who have asked to join", async (context) => {
  usePage(context);
  for (const [name, role] of [["GUEST", "ROLE_GUEST"], ["MEMBER", undefined]]) {
    const added = [];
    const addMembers = async (_, body) => (added.push([body.user_ids, body.role]), { event_id: "9" });
    const signedIn = async () => ({ version: "99", requests: [{ user_id: ADA, asked_at_ms: "0" }] });
    const app = { api: { signedIn, addMembers }, chats: groupChats(member(ME, name, { allow: "8" })) };
    await new GroupChanges(app.api, app.chats, GROUP).add(["3", "4"]);
    const { press } = opened(new JoinRequests(app, GROUP));
    await settle();
    await press(dialogTexts.joinRequests.acceptOf("Ada"));
    assert.deepEqual(added, [[["3", "4"], role], [[ADA], role]]);
  }
});

/** The dialog of an invite link, of a group as the server has it; each step has this answer. */
async function invited(group, answer) {
  const found = { chat_id: "g-9", name: "Nests", members: 50, ...group };
  const signedIn = async (method) => (method === "GET" ? found : answer());
  const chats = Object.assign(groupChats({}), { of: () => ({ group: null }) });
  const dialog = opened(new InvitedGroup({ api: { signedIn }, chats }, "t"));
  await settle();
  return dialog;
}

test("a request that was declined meanwhile is taken back without an error, and can be made again", async (context) => {
  usePage(context);
  const { steps, ended } = dialogTexts.joining;
  const { press, text } = await invited({ asks_to_join: true, has_asked: true }, () => refuse(404, "not_found"));
  await press(steps.takeBack);
  assert.ok(text().includes(steps.ask) && !text().includes(ended), text());
  await press(steps.ask);
  assert.ok(text().includes(ended), "the link");
});

test("a group that takes no more requests to join is not called full", async (context) => {
  usePage(context);
  const { steps } = dialogTexts.joining;
  for (const [group, words] of [
    [{}, texts.refused.too_large],
    [{ members: 1_000 }, dialogTexts.group.full(1_000)],
    [{ members: 1_000, is_channel: true }, texts.refused.too_large],
    [{ members: 100_000, is_channel: true }, dialogTexts.channel.full(100_000)],
  ]) {
    const { press, text } = await invited(group, () => refuse(400, "too_large"));
    await press(steps.join);
    assert.ok(text().includes(words), text());
  }
});
