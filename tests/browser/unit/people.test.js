// Connections and blocks: read when they are first needed, kept up to date, and shown in their order.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Problem } from "../../../web/api.js";
import { listedPeople } from "../../../web/components/people-dialog.js";
import { People, peopleOf } from "../../../web/stores/people.js";
import { Store } from "../../../web/stores/store.js";
import { ADA, MIRA, settle } from "./fakes.js";

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
  return { server, signals, people: new People({ signedIn }, signals) };
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
