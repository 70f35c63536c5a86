// Connections and blocks: read when they are first needed, kept up to date, and shown in their order.

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Problem } from "../../../web/api.js";
import { listedPeople } from "../../../web/components/people-dialog.js";
import { PeopleSearch } from "../../../web/components/people-search.js";
import { ReportDialog } from "../../../web/components/report-dialog.js";
import { dialogTexts } from "../../../web/languages/dialogs.js";
import { texts } from "../../../web/languages/language.js";
import { fromWire } from "../../../web/messages.js";
import { Chats } from "../../../web/stores/chats.js";
import { People, peopleOf } from "../../../web/stores/people.js";
import { Store } from "../../../web/stores/store.js";
import { Root } from "../../../web/view.js";
import { ADA, changeAt, CHAT, idAt, MIRA, nodesIn, sentAt, settle, useLines, usePage, wireMessage } from "./fakes.js";
import { online } from "./online.js";

/** A server with connections and blocks, and the people of a page. */
function page() {
  const server = { connections: [], user_ids: [], requests: [], refusal: null };
  const signedIn = async (method, path, body) => {
    server.requests.push([method, path, ...(body ? [body] : [])]);
    if (server.refusal) throw server.refusal;
    const [, kind, user_id] = path.match(/^\/v1\/me\/(connections|blocks)(?:\/(\d+))?$/) ?? [];
    if (method === "GET") return structuredClone(kind === "blocks" ? { user_ids: server.user_ids } : { connections: server.connections });
    const connection = { user_id, state: "invited", since_ms: "9" };
    if (kind === "blocks") server.user_ids = method === "PUT" ? [user_id] : [];
    if (kind === "connections") server.connections = method === "PUT" ? [connection] : [];
    return method === "PUT" && kind === "connections" ? { connection } : null;
  };
  const signals = new Store();
  return { server, signals, api: { signedIn }, people: new People({ signedIn }, signals) };
}

test("nothing is requested before a part of the page needs it; then each signal reads it again", async () => {
  const { server, signals, people } = page();
  signals.changed();
  await settle();
  assert.deepEqual(server.requests, []);
  assert.equal(people.connectionWith(ADA), undefined);
  await settle();
  server.connections = [{ user_id: ADA, state: "invites_me", since_ms: "5" }];
  signals.changed();
  await settle();
  assert.deepEqual([people.connectionWith(ADA)?.state, people.connectionWith(MIRA)], ["invites_me", undefined]);
  assert.equal(server.requests.length, 4);
});

test("what the user changes is shown at once, and a refusal changes nothing", async () => {
  const { server, people } = page();
  people.relations;
  await settle();
  await people.connect(ADA);
  assert.equal(people.connectionWith(ADA)?.state, "invited");
  await people.block(ADA);
  assert.deepEqual([people.connectionWith(ADA), people.isBlocked(ADA), people.isBlocked(MIRA)], [undefined, true, false]);
  await people.unblock(ADA);
  await people.disconnect(ADA);
  assert.deepEqual([people.connectionWith(ADA), people.isBlocked(ADA)], [undefined, false]);
  await settle();
  server.refusal = new Problem(403, { code: "forbidden" });
  await assert.rejects(people.block(MIRA), Problem);
  assert.equal(people.isBlocked(MIRA), false);
});

test("a report has the person, the reason and the messages; all parts of a page have the same people", async () => {
  const { server, people } = page();
  const report = { user_id: ADA, chat_id: "g-5", message_ids: ["7"], reason: "Rude" };
  await people.report(report);
  assert.deepEqual(server.requests, [["POST", "/v1/reports", report]]);
  const app = { api: {}, sync: { people: new Store() } };
  assert.equal(peopleOf(app), peopleOf({ ...app }));
  assert.notEqual(peopleOf(app), peopleOf({ api: {}, sync: { people: new Store() } }));
});

test("a reported message goes with the shown ones before it, at most four, which are no control changes", async (context) => {
  usePage(context);
  const { server, api } = page();
  const chats = new Chats({}, { user_id: ADA });
  const joined = { control: { version: "2", members: [{ user_id: "8", role: "ROLE_MEMBER" }] }, text: undefined };
  for (let minute = 1; minute <= 9; minute++) chats.conversations.add(fromWire({ ...wireMessage(minute), ...(minute === 5 && joined) }));
  chats.change(changeAt(10, 6, { deleted: {} }, MIRA));
  chats.change(changeAt(11, 7, { hidden: { set: true } }));
  const app = { chats, api, sync: { people: new Store() }, sending: { shown: (message) => message }, notify() {} };
  const idsOf = async (minute) => {
    const dialog = new ReportDialog(app, { user_id: MIRA, name: "mira", display_name: "Mira" }, fromWire(wireMessage(minute)));
    dialog.open();
    nodesIn(dialog.element).find((node) => node.getAttribute?.("name") === "reason").value = "Rude";
    nodesIn(dialog.element).find(({ tagName }) => tagName === "form").dispatch("submit");
    await settle();
    return server.requests.findLast(([method]) => method === "POST")[2].message_ids;
  };
  assert.deepEqual(await idsOf(9), [2, 3, 4, 8, 9].map(idAt));
  assert.deepEqual(await idsOf(1), [idAt(1)]);
  assert.deepEqual(await idsOf(20), [idAt(20)], "those in memory may be much older");
});

test("the report of a message offers to block its sender, but no deleted account", (context) => {
  usePage(context);
  const { api } = page();
  const app = { chats: new Chats({}, { user_id: ADA }), api, sync: { people: new Store() } };
  const offersBlock = (profile) => {
    const dialog = new ReportDialog(app, { user_id: MIRA, display_name: "", ...profile }, fromWire(wireMessage(1)));
    dialog.open();
    return nodesIn(dialog.element).some((node) => node.getAttribute?.("name") === "block");
  };
  assert.deepEqual([offersBlock({ name: "mira" }), offersBlock({ name: "", deleted: true })], [true, false]);
});

test("in a chat with a blocked user nothing is offered that the server refuses", async (context) => {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  context.after(() => mock.timers.reset());
  const { document } = useLines(context, 3);
  const { ChatView } = await import("../../../web/components/chat-view.js");
  await import("../../../web/components/delete-dialog.js"); // opens at once then
  const { server, api } = page();
  const profileOf = (user_id) => ({ user_id, name: user_id === ADA ? "ada" : "mira", display_name: "", about: "" });
  const client = await online({ me: async () => profileOf(ADA) });
  const { socket, sync } = client;
  Object.assign(client.api, api, { profiles: async (user_ids) => ({ profiles: user_ids.map(profileOf) }), messagesHaving: async () => ({}) });
  const pin = changeAt(4, 2, { pinned: { set: true } }, MIRA);
  for (const event of [sentAt(2, { sender_id: ADA }), changeAt(3, 2, { reacted: { emoji: "👍", set: true } }, MIRA), pin]) socket.deliver({ event });
  const app = { ...client, sending: sync.sending, root: new Root(document.body, () => view.view(), () => {}) };
  const view = new ChatView(app, CHAT, "");
  const render = async () => {
    await settle();
    app.root.render();
  };
  const all = (isFound) => nodesIn(document.body).filter((node) => node.tagName && isFound(node));
  const named = (name) => all((node) => node.tagName === name || node.getAttribute("class") === name);
  const labelled = (label) => all((node) => !node.hasAttribute("disabled") && (node.getAttribute("aria-label") ?? node.textContent) === label);
  const { listed, message, reaction } = texts;
  const { forEveryone, forMe } = dialogTexts.deletion;
  const refused = [message.reply, message.edit, message.react, reaction.countBy(reaction.count(1, "👍"), "mira"), listed.pinned.remove, forEveryone];
  /** Those of some labels that are offered for the user's own message, in its menu and in the dialogs that follow. */
  const offered = async (...labels) => {
    for (let count = 0; count < 3; count++) await render();
    named("lines")[0].dispatch("focusin", named("rookery-message").at(-1));
    await render();
    labelled(message.more)[0].dispatch("click");
    labelled(message.delete)[0].dispatch("click");
    for (let count = 0; count < 9 && !labelled(forMe).length; count++) await settle();
    const found = labels.filter((label) => labelled(label).length);
    for (const dialog of named("dialog")) dialog.parentNode.removeChild(dialog);
    return found;
  };
  assert.deepEqual(await offered(...refused), refused);
  server.user_ids = [MIRA];
  sync.people.changed();
  assert.deepEqual(await offered(...refused, listed.starred.set, forMe), [listed.starred.set, forMe]);
});

test("pins of a chat with a blocked user are listed, and not removed", async (context) => {
  usePage(context);
  const { ListedDialog } = await import("../../../web/components/listed-dialog.js");
  const chats = new Chats({ messagesHaving: async () => ({}), profiles: async () => ({ profiles: [] }) }, { user_id: ADA, name: "ada", display_name: "" });
  chats.quotes.keep([{ message: wireMessage(2), changes: [changeAt(4, 2, { pinned: { set: true } })] }]);
  const sending = Object.assign(new Store(), { changes: { of: () => [{ change: { pinned: { set: true }, target_id: idAt(2) } }] }, shown: (each) => each });
  const canRemove = (isBlocked) => {
    const dialog = new ListedDialog({ chats, sending }, CHAT, "pinned", { isBlocked: () => isBlocked });
    dialog.open();
    assert.match(dialog.element.textContent, /text 2/);
    return dialog.element.textContent.includes(texts.listed.pinned.remove);
  };
  assert.deepEqual([false, true].map(canRemove), [true, false]);
});

test("invitations to answer are first, then connections, own invitations and blocked people, the newest first", () => {
  const connection = (user_id, state, since_ms) => ({ user_id, state, since_ms });
  const connections = [
    connection("1", "connected", "5"),
    connection("2", "invited", "9"),
    connection("3", "invites_me", "1"),
    connection("4", "connected", "10"),
  ];
  const listed = listedPeople({ connections, blocked: ["5"] });
  assert.deepEqual(listed.map(({ user_id }) => user_id), ["3", "4", "1", "2", "5"]);
});

test("the search shows the number of members of a group, and none of one that the user has left", (context) => {
  const { document } = useLines(context, 9);
  const chats = new Chats({ chats: async () => ({}) }, { user_id: ADA, name: "ada", display_name: "" });
  const root = new Root(document.body, () => search.view(), () => {});
  const search = new PeopleSearch({ api: {}, chats, root }, () => {});
  const shown = (version, role, member_count) => {
    const own = { user_id: ADA, role };
    chats.merge([{ chat_id: "g-5", version, settings: { name: "Crew" }, own, member_count, newest: { message: { ...wireMessage(1), chat_id: "g-5" } } }]);
    search.text = "crew";
    root.render();
    return nodesIn(document.body).find(({ tagName }) => tagName === "button").textContent;
  };
  assert.deepEqual([shown("1", "ROLE_MEMBER", 3), shown("2", undefined, 0)], [`C${"Crew"}${texts.chat.members(3)}`, "CCrew"]);
});

test("a text that is longer than the server takes finds chats of the page, and nobody else", async (context) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  context.after(() => mock.timers.reset());
  const { document } = useLines(context, 9);
  const requests = [];
  const findPeople = async (text) => {
    requests.push(text);
    return { profiles: [] };
  };
  const chats = new Chats({ chats: async () => ({}) }, { user_id: ADA, name: "ada", display_name: "" });
  const own = { user_id: ADA, role: "ROLE_MEMBER" };
  const newest = { message: { ...wireMessage(1), chat_id: "g-5" } };
  chats.merge([{ chat_id: "g-5", version: "1", settings: { name: "w".repeat(65) }, own, member_count: 3, newest }]);
  const root = new Root(document.body, () => search.view(), () => {});
  const search = new PeopleSearch({ api: { findPeople }, chats, root }, () => {});
  const shown = async (text) => {
    search.find(text);
    mock.timers.tick(200);
    await settle();
    root.render();
    const rows = nodesIn(document.body).filter(({ tagName }) => tagName === "button");
    return [rows.length, document.body.textContent.includes(texts.search.nobody)];
  };
  assert.deepEqual([await shown("w".repeat(65)), await shown("x".repeat(65))], [[1, false], [0, true]]);
  assert.deepEqual(requests, []);
  await shown("🎻".repeat(64));
  assert.equal(requests.length, 1, "the server counts characters");
});

test("while a search runs, only people of the search before who match the present text are listed, and Enter opens one", async (context) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  context.after(() => mock.timers.reset());
  const { document } = useLines(context, 9);
  const all = ["Ada Lindqvist", "Adam Bauer", "Bert Adam"].map((display_name, at) => ({ user_id: `2${at}`, name: `user${at}`, display_name }));
  let isAway = false;
  const findPeople = async (text) => {
    if (isAway) throw new Problem(503, {});
    return { profiles: all.filter(({ display_name }) => display_name.toLowerCase().includes(text)) };
  };
  const chats = new Chats({ chats: async () => ({}) }, { user_id: ADA, name: "ada", display_name: "" });
  const root = new Root(document.body, () => search.view(), () => {});
  const opened = [];
  const search = new PeopleSearch({ api: { findPeople }, chats, root }, (chat_id) => opened.push(chat_id));
  const shown = () => {
    root.render();
    const rows = nodesIn(document.body).filter(({ tagName }) => tagName === "button");
    return rows.map((row) => all.find(({ display_name }) => row.textContent.includes(display_name))?.display_name);
  };
  const answer = async () => {
    mock.timers.tick(200);
    await settle();
    return shown();
  };
  search.find("ada");
  assert.deepEqual(shown(), []);
  assert.deepEqual(await answer(), ["Ada Lindqvist", "Adam Bauer", "Bert Adam"]);
  search.find("bauer ada");
  search.chooseFirst();
  assert.deepEqual([opened, shown()], [["d-11-21"], ["Adam Bauer"]]);
  search.find("zoe");
  search.chooseFirst();
  assert.deepEqual([opened.length, shown(), document.body.textContent.includes(texts.search.nobody)], [1, [], false]);
  assert.deepEqual(await answer(), []);
  assert.ok(document.body.textContent.includes(texts.search.nobody));
  isAway = true;
  search.find("ada");
  await answer();
  assert.ok(document.body.textContent.includes(texts.search.failed));
  isAway = false;
  search.find("ada");
  assert.deepEqual([shown(), await answer()], [[], ["Ada Lindqvist", "Adam Bauer", "Bert Adam"]]);
});
