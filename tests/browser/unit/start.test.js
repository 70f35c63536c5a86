// The start of a user without chats.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Start } from "../../../web/components/start.js";

test("the people to write to are loaded again once they are old, not with each rendering", async (context) => {
  context.mock.timers.enable({ apis: ["Date"] });
  let requests = 0;
  const me = { user_id: "1", is_admin: false };
  const people = async () => (requests++, { profiles: [] });
  const start = new Start({ api: { people }, chats: { me }, root: { invalidate() {} } }, () => {});
  const loadsAfter = async (passed_ms) => {
    context.mock.timers.tick(passed_ms);
    start.view();
    await Promise.resolve();
    return requests;
  };
  assert.deepEqual([await loadsAfter(0), await loadsAfter(29_000), await loadsAfter(1_000)], [1, 1, 2]);
});
