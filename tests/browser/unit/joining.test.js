// Joining groups: what the user can do next, and the lists that follow the group.

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { NoResponse, Problem } from "../../../web/api.js";
import { masksOf, rightsOf } from "../../../web/group-actions.js";
import { afterStep, asKnown, Joining, stepOf } from "../../../web/joining.js";
import { Loaded } from "../../../web/stores/loaded.js";
import { ADA, MIRA, settle } from "./fakes.js";

test("a member opens the group; anyone else joins or asks, and takes a request back", () => {
  const group = { chat_id: "g-5", name: "Nests", members: 3 };
  const event = (changes) => ({ message: { control: { version: "4", members: [{ user_id: MIRA, role: "ROLE_OWNER" }, { user_id: ADA, ...changes }] } } });
  assert.deepEqual([stepOf(group), stepOf({ ...group, asks_to_join: true })], ["join", "ask"]);
  for (const [changes, step] of [
    [{ role: "ROLE_MEMBER" }, "open"],
    [{ asked_at_ms: "7" }, "takeBack"],
    [{}, "join"],
  ])
    assert.equal(stepOf(afterStep(group, event(changes), ADA)), step);
  const known = (role) => stepOf(asKnown({ ...group, has_asked: true }, { group: role ? { own: { user_id: ADA, role } } : null }));
  assert.deepEqual([known(""), known("ROLE_UNSPECIFIED"), known("ROLE_GUEST")], ["takeBack", "takeBack", "open"]);
});

test("requests name the group, the user and the token in the path, however they are spelled", async () => {
  const sent = [];
  const joining = new Joining({ signedIn: async (...request) => void sent.push(request.join(" ")) });
  await joining.look("5.a/b");
  await joining.decline("g-5", ADA, { client_change_id: "c&1" });
  await joining.publicGroups("a&b", "");
  await joining.publicGroups("", "7");
  assert.deepEqual(sent, [
    "GET /v1/joining/5.a%2Fb",
    `DELETE /v1/chats/g-5/requests/${ADA}?client_change_id=c%261`,
    "GET /v1/public-chats?limit=20&query=a%26b",
    "GET /v1/public-chats?limit=20&after=7",
  ]);
});

test("a list is read again until it is of the group's version; the newest load wins, and a failure keeps it", async (context) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  context.after(() => mock.timers.reset());
  const answers = [{ version: 1 }, { version: 2 }, new NoResponse(), new Problem(403, { code: "forbidden" }), { version: 3 }];
  const read = async () => {
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    return answer;
  };
  const list = new Loaded(read, ({ version }) => version >= 2);
  const loading = list.load();
  await settle();
  assert.deepEqual([list.value, answers.length], [{ version: 1 }, 4]);
  mock.timers.tick(250);
  await loading;
  assert.deepEqual(list.value, { version: 2 });
  const late = list.load();
  await Promise.all([list.load(), late]);
  assert.deepEqual([list.value, list.problem], [{ version: 2 }, "You are not allowed to do this."]);
  await list.load();
  assert.deepEqual([list.value, list.problem], [{ version: 3 }, ""]);
});

test("what only a member may or may not do is three-valued, and unknown permissions stay", () => {
  const member = { user_id: ADA, allow: String(128 + 2 ** 40), deny: "3" };
  const rights = rightsOf(member);
  assert.deepEqual([rights.POST, rights.REACT, rights.PIN, rights.MANAGE], ["deny", "deny", "role", "allow"]);
  assert.deepEqual(masksOf(member, rights), { allow: member.allow, deny: member.deny });
  const changed = masksOf(member, { ...rights, POST: "allow", REACT: "role", MANAGE: "deny" });
  assert.deepEqual(changed, { allow: String(1 + 2 ** 40), deny: "128" });
});
