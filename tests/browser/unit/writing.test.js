// The composer: the message in a text, the key that sends it, and the mentions of an edit.

import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";
import { Completion } from "../../../web/components/completion.js";
import { Composer } from "../../../web/components/composer.js";
import { VoiceMessage } from "../../../web/components/voice.js";
import { ForwardDialog } from "../../../web/components/forward-dialog.js";
import { isForInputMethod } from "../../../web/keys.js";
import { bodyOf } from "../../../web/drafts.js";
import { textOf } from "../../../web/kinds/edited.js";
import { dialogTexts } from "../../../web/languages/dialogs.js";
import { fromWire } from "../../../web/messages.js";
import { Root } from "../../../web/view.js";
import "../../../web/stores/channel-members.js"; // the page loads it later: then that takes no time
import { markerOf, mayReplace, sends } from "../../../web/writing.js";
import { ADA, CHAT, idAt, MIRA, nodesIn, settle, usePage, wireMessage } from "./fakes.js";
import { online } from "./online.js";

const GROUP = "g-5";
const MENTIONS = [{ user_id: MIRA, name: "Mimi" }, { user_id: "99", name: "Gone" }];

afterEach(() => {
  mock.timers.reset();
  delete globalThis.WebSocket;
});

test("a message keeps the indentation of its first line, and no empty lines around it", () => {
  assert.equal(bodyOf("\n \n    if ready:\n        go()\n\n"), "    if ready:\n        go()");
  assert.equal(bodyOf(" \n\t"), "");
});

test("Enter sends, unless it breaks the line", () => {
  const enter = { key: "Enter", shiftKey: false };
  assert.ok(sends(enter));
  for (const other of [{ shiftKey: true }, { key: "a" }]) assert.equal(sends({ ...enter, ...other }), false);
});

test("a key belongs to an input method while a word is composed, and in Safari right after it", () => {
  const pressed = { isComposing: false, keyCode: 13 };
  assert.deepEqual([{}, { isComposing: true }, { keyCode: 229 }].map((keys) => isForInputMethod({ ...pressed, ...keys })), [false, true, true]);
});

test("Ctrl or Cmd with B, I and Shift+X marks the selection, and no other key does", () => {
  const pressed = { key: "b", shiftKey: false, ctrlKey: true, metaKey: false, altKey: false };
  assert.deepEqual(
    [{}, { key: "i", ctrlKey: false, metaKey: true }, { key: "X", shiftKey: true }].map((keys) => markerOf({ ...pressed, ...keys })),
    ["**", "*", "~~"],
  );
  for (const keys of [{ ctrlKey: false }, { metaKey: true }, { altKey: true }, { shiftKey: true }, { key: "x" }])
    assert.equal(markerOf({ ...pressed, ...keys }), "");
});

/** A page with a composer in a group, or in a channel; `members` answers requests for its members. */
async function inGroup(context, members, is_channel = false) {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const { document } = usePage(context, { matchMedia: () => ({ matches: false }) });
  const client = await online({ me: async () => ({ user_id: ADA, name: "ada", display_name: "Ada" }) });
  Object.assign(client.api, { members, signedIn: async () => ({ profiles: [] }) });
  const own = { user_id: ADA, role: "ROLE_MEMBER" };
  client.chats.merge([{ chat_id: GROUP, version: "2", settings: { name: "Crew", permissions: "1", is_channel }, own }]);
  const root = new Root(document.body, () => composer.view(""), () => {});
  const app = { ...client, sending: client.sync.sending, root };
  const toEnd = mock.fn();
  const composer = new Composer(app, GROUP, toEnd);
  root.render();
  const field = nodesIn(document.body).find(({ tagName }) => tagName === "textarea");
  const submit = async (text) => {
    field.value = text;
    nodesIn(document.body).find(({ tagName }) => tagName === "form").dispatch("submit");
    await settle();
    for (const _second of [1, 2]) {
      mock.timers.tick(1_000);
      await settle(); // a text waits for members at most two seconds
    }
    return client.socket.sent.at(-1);
  };
  const save = async (text) => {
    const body = "@Mimi, @Gone and @everyone";
    const wire = { ...wireMessage(2, { sender_id: ADA, body }), chat_id: GROUP };
    client.chats.quotes.keep([{ message: { ...wire, text: { body, mentions: MENTIONS, mentions_everyone: true } } }]);
    composer.edit(fromWire(wire));
    return (await submit(text)).change.edited.text;
  };
  return { ...client, app, composer, document, field, submit, save, toEnd };
}

for (const [place, members, is_channel] of [
  ["a group whose members could not be loaded", () => Promise.reject(new Error("away"))],
  ["a group whose members are being loaded", () => new Promise(() => {})],
  ["a channel", async () => ({ version: "2", members: [{ user_id: ADA, role: "ROLE_MEMBER" }] }), true],
])
  test(`an edit keeps its mentions in ${place}`, async (context) => {
    const { chats, save } = await inGroup(context, members, is_channel);
    void chats.loadMembers(GROUP);
    await settle();
    assert.deepEqual((await save("@Mimi, @Gone and @everyone: soon")).mentions, MENTIONS);
  });

test("an edit loses the mentions of users who are known to have left the group", async (context) => {
  const members = [ADA, MIRA].map((user_id) => ({ user_id, role: "ROLE_MEMBER" }));
  const { chats, save } = await inGroup(context, async () => ({ version: "2", members }));
  await chats.loadMembers(GROUP);
  assert.equal(chats.profiles.cached(MIRA), undefined);
  assert.deepEqual((await save("@Mimi and @Gone")).mentions, MENTIONS.slice(0, 1));
});

test("a message that is sent while the members are being loaded mentions them", async (context) => {
  const members = [ADA, MIRA].map((user_id) => ({ user_id, role: "ROLE_MEMBER" }));
  const answers = [];
  const { api, chats, field, submit } = await inGroup(context, () => new Promise((resolve) => answers.push(resolve)));
  api.profiles = async () => ({ profiles: [{ user_id: MIRA, name: "mira", display_name: "Mimi" }] });
  void chats.loadMembers(GROUP);
  await settle();
  setTimeout(() => answers.forEach((resolve) => resolve({ version: "2", members })), 1_000);
  const { send } = await submit("Ask @Mimi");
  assert.deepEqual(send.text, { body: "Ask @Mimi", mentions: [{ user_id: MIRA, name: "Mimi" }] });
  assert.equal(field.value, "");
});

test("a message in a channel mentions a member whose name was pasted, or typed without a pause", async (context) => {
  const { api, submit } = await inGroup(context, undefined, true);
  const searched = [];
  api.signedIn = async (_, path) => {
    searched.push(new URL(path, "https://rookery.example").searchParams.get("name_contains"));
    return { profiles: [{ user_id: MIRA, name: "mira", display_name: "Mimi" }] };
  };
  const { send } = await submit("Ask @Mimi, and @everyone");
  assert.deepEqual([send.text.mentions, searched], [[{ user_id: MIRA, name: "Mimi" }], ["Mimi"]]);
});

test("a message does not wait for members for ever", async (context) => {
  const { submit } = await inGroup(context, () => new Promise(() => {}));
  const { send } = await submit("Ask @Mimi");
  assert.deepEqual(send.text, { body: "Ask @Mimi", mentions: [] });
});

test("several messages wait for members together, and until then a reload or a sign-out would lose them", async (context) => {
  const { app, document, field, submit } = await inGroup(context, () => new Promise(() => {}));
  const { sending } = app;
  field.value = "Ask @Mimi";
  nodesIn(document.body).find(({ tagName }) => tagName === "form").dispatch("submit");
  await settle();
  assert.deepEqual([sending.drafts.leavingCount, sending.survivesReload], [1, false]);
  field.value = "Ask @Mimiand @Grace";
  await submit(field.value);
  assert.deepEqual(sending.waiting(GROUP).map(({ body }) => body), ["Ask @Mimi", "and @Grace"]);
  assert.equal(sending.drafts.leavingCount, 0);
});

test("an edit is shown at once, and waits for the members whom it mentions", async (context) => {
  const answers = [];
  const { api, chats, save, socket, sync } = await inGroup(context, () => new Promise((resolve) => answers.push(resolve)));
  api.profiles = async () => ({ profiles: [{ user_id: "8", name: "grace", display_name: "Grace" }] });
  const saved = save("@Mimi, @Gone and @Grace");
  await settle();
  const edits = () => socket.sent.flatMap(({ change }) => change?.edited ?? []);
  assert.deepEqual([textOf(sync.sending.shown(chats.quotes.get(GROUP, idAt(2)))), edits()], ["@Mimi, @Gone and @Grace", []]);
  answers.forEach((resolve) => resolve({ version: "2", members: [ADA, MIRA, "8"].map((user_id) => ({ user_id, role: "ROLE_MEMBER" })) }));
  assert.deepEqual((await saved).mentions, [MENTIONS[0], { user_id: "8", name: "Grace" }]);
  assert.equal(edits().length, 1);
});

test("an edit that waits for members keeps its place among the changes, and another edit of the message waits on its own", async (context) => {
  const { composer, field, document, socket, sync } = await inGroup(context, () => new Promise(() => {}));
  const { sending } = sync;
  const wire = { ...wireMessage(2, { sender_id: ADA, body: "one" }), chat_id: GROUP };
  const edit = async (text) => {
    composer.edit(fromWire(wire));
    field.value = text;
    nodesIn(document.body).find(({ tagName }) => tagName === "form").dispatch("submit");
    await settle();
  };
  const after = async (ms) => {
    mock.timers.tick(ms);
    await settle();
    const { change } = socket.sent.at(-1);
    return change?.edited?.text.body ?? change?.reacted?.emoji;
  };
  await edit("first @Mimi");
  assert.equal(await after(1_500), undefined);
  await edit("second @Mimi");
  sending.toggleReaction(fromWire(wire), "👍");
  assert.equal(await after(1_000), undefined, "the second edit waits its own two seconds");
  assert.deepEqual(sending.changes.all.map(({ change }) => Object.keys(change).includes("edited")), [true, false]);
  assert.equal(await after(1_000), "second @Mimi");
});

test("an edit in a channel mentions a member whose name was pasted", async (context) => {
  const { api, save } = await inGroup(context, undefined, true);
  api.signedIn = async () => ({ profiles: [{ user_id: "8", name: "grace", display_name: "Grace" }] });
  assert.deepEqual((await save("@Mimi and @Grace")).mentions, [MENTIONS[0], { user_id: "8", name: "Grace" }]);
});

test("an edit is saved as it is at Enter, and its field is free before the members are loaded", async (context) => {
  const { app, field, save } = await inGroup(context, () => new Promise(() => {}));
  const saved = save("See @Mimi");
  assert.equal(app.sending.drafts.get(GROUP).editing, null);
  field.value = "next";
  assert.equal((await saved).body, "See @Mimi");
});

test("a message that is kept after the user has left its chat does not move the messages", async (context) => {
  const { composer, submit, sync, toEnd } = await inGroup(context, () => new Promise(() => {}));
  await submit("Ask Mimi");
  assert.equal(toEnd.mock.callCount(), 1);
  setTimeout(() => composer.stop(), 1_000);
  await submit("Ask @Mimi");
  const bodies = sync.sending.waiting(GROUP).map(({ body }) => body);
  assert.deepEqual([bodies, toEnd.mock.callCount()], [["Ask Mimi", "Ask @Mimi"], 1]);
});

test("a recording that is dropped leaves the draft its reply, and does not move the messages", async (context) => {
  for (const [name, value] of [["MediaRecorder", class {}], ["navigator", { mediaDevices: { getUserMedia() {} } }]]) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true });
    context.after(() => (before ? Object.defineProperty(globalThis, name, before) : delete globalThis[name]));
  }
  const { app, composer, document, submit, toEnd } = await inGroup(context, () => new Promise(() => {}));
  const replies = [];
  const voice = { view: () => null, cancel() {}, send: async (reply_to) => replies.push(reply_to) > 1 };
  context.mock.method(VoiceMessage, "begin", async () => voice);
  for (const [left, ends] of [[idAt(2), 0], ["", 1]]) {
    composer.reply(fromWire({ ...wireMessage(2), chat_id: GROUP }));
    app.root.render();
    nodesIn(document.body).find((node) => node.getAttribute?.("aria-label") === "Voice message").click();
    await settle();
    await submit("");
    assert.deepEqual([app.sending.drafts.get(GROUP).reply_to, toEnd.mock.callCount()], [left, ends]);
  }
  assert.deepEqual(replies, [idAt(2), idAt(2)]);
});

test("a forwarded message reaches a direct chat at once, and groups soon, though their members can't be loaded", async (context) => {
  const { api, app, chats, document, sync } = await inGroup(context, () => new Promise(() => {}));
  api.profiles = async (user_ids) => ({ profiles: user_ids.map((user_id) => ({ user_id, name: `user${user_id}`, display_name: "" })) });
  api.signedIn = () => new Promise(() => {});
  const own = { user_id: ADA, role: "ROLE_MEMBER" };
  const group = (chat_id, name, is_channel) => ({ chat_id, version: "2", settings: { name, permissions: "1", is_channel }, own, newest: { message: { ...wireMessage(3), chat_id } } });
  chats.merge([group(GROUP, "Crew", false), group("g-6", "News", true), { chat_id: CHAT, member_ids: [MIRA, ADA] }]);
  chats.partner(CHAT);
  await settle();
  const text = { body: "Ask @Mimi", mentions: MENTIONS.slice(0, 1) };
  const dialog = new ForwardDialog({ ...app, notify() {} }, fromWire({ ...wireMessage(2), text }));
  dialog.open();
  const press = (words) => nodesIn(document.body).find(({ tagName, textContent }) => tagName === "button" && textContent.includes(words)).click();
  for (const name of ["Crew", "News", `user${MIRA}`]) press(name);
  dialog.root.render();
  press(dialogTexts.forwarding.send);
  await settle();
  const mentions = () => [CHAT, GROUP, "g-6"].map((chat_id) => sync.sending.waiting(chat_id).map((message) => message.mentions));
  assert.deepEqual(mentions(), [[text.mentions], [], []]);
  mock.timers.tick(2_000);
  await settle();
  assert.deepEqual(mentions(), [[text.mentions], [[]], [[]]]);
});

test("the members to mention are loaded again after a failure, with the next letter", async (context) => {
  let requests = 0;
  const members = [ADA, MIRA].map((user_id) => ({ user_id, role: "ROLE_MEMBER" }));
  const fetch = async () => {
    if (++requests === 1) throw new Error("away");
    return { version: "2", members };
  };
  const { app, document, field } = await inGroup(context, fetch);
  const completion = new Completion(field, app, GROUP);
  document.activeElement = field;
  for (const value of ["@", "@m", "@mi"]) {
    Object.assign(field, { value, selectionStart: value.length, selectionEnd: value.length });
    completion.look();
    await settle();
  }
  assert.equal(requests, 2);
});

test("a text of another tab never replaces keystrokes that it does not have", () => {
  const may = (text, isFocused, isOwn) => mayReplace({ text, isFocused, isOwn }, { before: "one", text: "one two" });
  assert.deepEqual([may("", true, true), may("one", false, true), may("older", false, false)], [true, true, true]);
  assert.deepEqual([may("one", true, false), may("one more", false, true)], [false, false]);
});
