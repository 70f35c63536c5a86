// Dialogs: their loading when they are first opened, the settings, and the notifications of a chat.

import assert from "node:assert/strict";
import test from "node:test";
import { NoResponse, Problem } from "../../../web/api.js";
import { ChatNotifications } from "../../../web/components/chat-notifications.js";
import { OwnProfile } from "../../../web/components/profile-dialogs.js";
import { openDialog } from "../../../web/components/open-dialog.js";
import { ReadAll } from "../../../web/components/read-all.js";
import { SettingsDialog } from "../../../web/components/settings.js";
import { SignIn } from "../../../web/components/sign-in.js";
import { FOR_EVER } from "../../../web/kinds/own.js";
import { dialogTexts } from "../../../web/languages/dialogs.js";
import { texts } from "../../../web/languages/language.js";
import { Chats } from "../../../web/stores/chats.js";
import { Settings } from "../../../web/stores/settings.js";
import { ADA, CHAT, fakeStorage, nodesIn, settle, usePage, wireMessage } from "./fakes.js";

test("a dialog opens when its module is loaded; a failure is shown, and the next call loads again", async () => {
  const notices = [];
  const app = { notify: (text) => notices.push(text) };
  const opened = [];
  const make = ({ name }) => ({ open: () => opened.push(name) });
  await openDialog(app, () => Promise.reject(new TypeError("offline")), make);
  assert.deepEqual([notices, opened], [[texts.failed.noResponse], []]);
  await openDialog(app, async () => ({ name: "settings" }), make);
  assert.deepEqual([notices.length, opened], [1, ["settings"]]);
});

test("of dialogs that are asked for while a module is loaded the last one opens, once", async () => {
  const app = { notify: () => assert.fail("all are loaded") };
  const opened = [];
  const loads = [];
  const ask = () => openDialog(app, () => new Promise((loaded) => loads.push(loaded)), ({ name }) => ({ open: () => opened.push(name) }));
  const asked = [ask(), ask(), ask()];
  loads[2]({ name: "third" });
  loads[0]({ name: "first" });
  loads[1]({ name: "second" });
  await Promise.all(asked);
  assert.deepEqual(opened, ["third"]);
});

/** The settings of a user, as the server answers. */
function openSettings(api) {
  const me = { user_id: ADA, name: "ada", display_name: "Ada", about: "", version: 1 };
  const chats = new Chats({ me: async () => me, ...api }, me);
  const app = { api, chats, sending: { survivesReload: true }, settings: new Settings(fakeStorage()) };
  const dialog = new SettingsDialog(app);
  dialog.open();
  const find = (mark) => nodesIn(dialog.element).find((node) => node.outside.startsWith("<") && node.outside.split(">")[0].includes(mark));
  return { app, chats, dialog, find };
}

test("a list of sign-ins that was read before another one ended does not show that one again", async (context) => {
  usePage(context);
  const waiting = [];
  const signedIn = (method) => new Promise((resolve) => waiting.push({ method, resolve }));
  const { dialog, find } = openSettings({ signedIn });
  const answer = async (at, ...names) => {
    const rows = names.map((device_name) => ({ sign_in_id: device_name, device_name, last_seen_at_ms: "0", is_current: false }));
    await settle();
    waiting[at].resolve({ sign_ins: rows });
    await settle();
  };
  await answer(0, "One", "Two", "Three")
  for (const [at, name] of ["One", "Two"].entries()) {
    find(`aria-label="${dialogTexts.signIns.endOf(name)}"`).dispatch("click");
    await answer(2 * at + 1);
  }
  assert.deepEqual(waiting.map(({ method }) => method), ["GET", "DELETE", "GET", "DELETE", "GET"]);
  await answer(4, "Three");
  await answer(2, "Two", "Three");
  assert.match(dialog.element.textContent, /Three/);
  assert.doesNotMatch(dialog.element.textContent, /Two/);
});

test("of two quick changes of a setting of the account the second one lasts, in whatever order the server gets them", async (context) => {
  usePage(context);
  let user = { user_id: ADA, name: "ada", display_name: "Ada", about: "", version: 1 };
  const waiting = [];
  const changeProfile = (change) =>
    new Promise((resolve, reject) => {
      waiting.push(() => {
        if (change.version !== user.version) return reject(new Problem(409, { code: "version_conflict" }));
        user = { ...user, ...change, version: user.version + 1 };
        resolve(user);
      });
    });
  const { chats, find } = openSettings({ changeProfile, me: async () => user, signedIn: async () => ({ sign_ins: [] }) });
  await settle();
  const presence = () => find('name="shows_presence"');
  for (const checked of [false, true]) Object.assign(presence(), { checked }).dispatch("change");
  await settle();
  while (waiting.length) {
    waiting.pop()();
    assert.equal(presence().checked, true);
    await settle();
  }
  assert.deepEqual([user.shows_presence, user.version, chats.me.shows_presence, presence().checked], [true, 3, true, true]);
});

test("a mute that ends later than a browser can show is one for ever, which can be ended", (context) => {
  usePage(context);
  for (const until_ms of ["8640000000000001", "9007199254740991", FOR_EVER]) {
    const sending = { own: () => ({ mute: { until_ms } }) };
    const dialog = new ChatNotifications({ chats: { of: () => ({}) }, sending }, CHAT);
    dialog.open();
    const checked = nodesIn(dialog.element).map(({ outside }) => outside).filter((one) => /^<input[^>]*checked/.test(one));
    assert.deepEqual(checked.map((one) => /value="(.*?)"/.exec(one)[1]), ["nothing", FOR_EVER]);
  }
});

test("a mute for some time ends by the server's clock, also if that of the device is wrong", async (context) => {
  usePage(context);
  const set = [];
  const chats = new Chats({}, { user_id: ADA, name: "ada", display_name: "Ada" });
  const server_ms = Date.now() + 7_200_000;
  chats.clock.set(server_ms);
  const dialog = new ChatNotifications({ chats, sending: { own: () => ({ mute: { until_ms: FOR_EVER } }), setOwn: (...one) => set.push(one) } }, CHAT);
  dialog.open();
  const form = nodesIn(dialog.element).find(({ outside }) => outside.startsWith("<form"));
  for (const node of nodesIn(form)) if (node.getAttribute("name") === "end") node.value = "hour";
  form.dispatch("submit");
  await settle();
  const [[chat_id, { muted }]] = set;
  assert.deepEqual([chat_id, muted.except_mentions], [CHAT, false]);
  assert.ok(Math.abs(Number(muted.until_ms) - server_ms - 3_600_000) < 60_000);
});

test("all chats are marked as read, on however many pages the list has them, or the dialog stays open", async (context) => {
  usePage(context);
  const PAGES = 30;
  let isAway = true;
  const chatAt = (at) => ({ chat_id: `g-${at + 1}`, unread: at % 2, newest: { message: { ...wireMessage(at), chat_id: `g-${at + 1}` } } });
  const api = {
    chats: async ({ cursor }) => {
      const at = Number(cursor || 0);
      if (isAway && at === PAGES - 1) throw new NoResponse();
      return { chats: [chatAt(at)], next_cursor: at + 1 < PAGES ? String(at + 1) : "" };
    },
  };
  const chats = new Chats(api, { user_id: ADA, name: "ada", display_name: "Ada" });
  await chats.load();
  const marked = [];
  const sending = { isUnread: ({ unread }) => unread > 0, readAll: (chat_id) => marked.push(chat_id) };
  const dialog = new ReadAll({ chats, sending });
  dialog.open();
  const submit = async () => {
    nodesIn(dialog.element).find(({ outside }) => outside.startsWith("<form")).dispatch("submit");
    for (let turn = 0; turn < 3 * PAGES; turn++) await settle();
  };
  await submit();
  assert.deepEqual([marked, dialog.element.textContent.includes(texts.failed.noResponse)], [[], true]);
  isAway = false;
  await submit();
  assert.deepEqual(marked.sort(), Array.from({ length: PAGES / 2 }, (_, at) => `g-${2 * at + 2}`).sort());
});

const LONG = "p".repeat(140);

/** A form of a page: how to send it with the longest passwords, and what is written below a field. */
function passwordForm(root, at = 0) {
  const form = () => nodesIn(root).filter((node) => node.outside.startsWith("<form") && node.outside.includes("password"))[at];
  const noteOf = (name) => {
    const id = form().elements.namedItem(name).getAttribute("aria-describedby");
    return nodesIn(form()).find((node) => node.getAttribute("id") === id).textContent;
  };
  const submit = async (values) => {
    for (const [name, value] of Object.entries(values)) {
      assert.equal(form().elements.namedItem(name).getAttribute("maxlength") === null, value === LONG, name);
      form().elements.namedItem(name).value = value;
    }
    form().dispatch("submit");
    await settle();
  };
  return { noteOf, submit };
}

/** The server's refusals of values that are too long, and the values. */
function refusing() {
  const sent = [];
  const refuse = (field, ...values) => {
    sent.push(...values);
    return Promise.reject(new Problem(422, { code: "invalid", field, message: "At most 128 characters." }));
  };
  return { sent, refuse };
}

test("a password that is too long is sent whole, and refused at its field, as one signs in or creates an account", async (context) => {
  usePage(context);
  Object.assign(globalThis, { location: { hash: "" } });
  context.after(() => delete globalThis.location);
  const { sent, refuse } = refusing();
  const api = { signIn: (_, password) => refuse("password", password), register: ({ password }) => refuse("password", password) };
  const page = new SignIn(api, "", () => {});
  page.start();
  const { noteOf, submit } = passwordForm(page.element);
  await submit({ name: "ada", password: LONG });
  assert.equal(noteOf("password"), texts.refusedField.password);
  nodesIn(page.element).find(({ outside, textContent }) => outside.startsWith("<button") && textContent === texts.create.toCreate).dispatch("click");
  await settle();
  assert.notEqual(noteOf("password"), texts.refusedField.password);
  await submit({ name: "ada", password: LONG });
  assert.equal(noteOf("password"), texts.refusedField.password);
  assert.deepEqual(sent, [LONG, LONG]);
});

test("a password that is too long is sent whole, and refused at its field, in the settings", async (context) => {
  usePage(context);
  const { sent, refuse } = refusing();
  let field = "new_password";
  const signedIn = async (method, _, body) => (method === "GET" ? { sign_ins: [] } : refuse(field, body.current_password, body.new_password));
  const { app, dialog } = openSettings({ signedIn });
  app.deleteAccount = (password) => refuse("current_password", password);
  await settle();
  const change = passwordForm(dialog.element);
  await change.submit({ current_password: LONG, new_password: LONG });
  assert.equal(change.noteOf("new_password"), texts.refusedField.password);
  field = "current_password";
  await change.submit({ current_password: LONG, new_password: LONG });
  assert.equal(change.noteOf("current_password"), texts.refusedField.wrongPassword);
  nodesIn(dialog.element).find(({ outside, textContent }) => outside.startsWith("<button") && textContent === dialogTexts.account.delete).dispatch("click");
  await settle();
  const deletion = passwordForm(dialog.element, 1);
  await deletion.submit({ current_password: LONG });
  assert.equal(deletion.noteOf("current_password"), texts.refusedField.wrongPassword);
  assert.deepEqual(sent, Array(5).fill(LONG));
});

test("a changed password gives the browser its next device token, and a server that returns none changes it too", async (context) => {
  usePage(context);
  for (const [answer, kept] of [[{ device_token: "next" }, [["ada", "next"]]], [null, []]]) {
    const tokens = [];
    const signedIn = async (method) => (method === "GET" ? { sign_ins: [] } : answer);
    const { dialog } = openSettings({ signedIn, keepDeviceToken: (...token) => tokens.push(token) });
    await settle();
    await passwordForm(dialog.element).submit({ current_password: LONG, new_password: LONG });
    assert.ok(dialog.element.textContent.includes(dialogTexts.password.changed));
    assert.deepEqual(tokens, kept);
  }
});

test("the own profile saves only what was entered", async (context) => {
  usePage(context);
  const before = { user_id: ADA, name: "ada", display_name: "Ada", about: "Old", version: 1 };
  const sent = [];
  const me = async () => ({ ...before, about: "New", version: 2 });
  const changeProfile = async (changes) => (sent.push(changes), { ...(await me()), ...changes, version: 3 });
  const chats = new Chats({ me, changeProfile }, before);
  const dialog = new OwnProfile({ api: {}, chats });
  document.body.append(dialog.element);
  dialog.root.render();
  chats.profileChanged(ADA);
  await settle();
  const form = nodesIn(dialog.element).find((node) => node.outside.startsWith("<form"));
  form.elements.namedItem("display_name").value = "Ada L.";
  form.dispatch("submit");
  await settle();
  assert.deepEqual(sent, [{ display_name: "Ada L.", version: 2 }]);
});

test("an older request for sign-ins that fails late does not hide the list", async (context) => {
  usePage(context);
  const waiting = [];
  const { dialog } = openSettings({ signedIn: () => new Promise((resolve, reject) => waiting.push({ resolve, reject })) });
  await settle();
  dialog.open();
  await settle();
  waiting[1].resolve({ sign_ins: [{ sign_in_id: "1", device_name: "Phone", last_seen_at_ms: "0", is_current: false }] });
  await settle();
  waiting[0].reject(new Problem(503, {}));
  await settle();
  assert.match(dialog.element.textContent, /Phone/);
});
