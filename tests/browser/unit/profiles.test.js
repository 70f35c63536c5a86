// Profiles: fetched when they are read, many at once, and kept up to a bound.

import assert from "node:assert/strict";
import test from "node:test";
import { avatar } from "../../../web/components/avatar.js";
import { MAX_CACHED, Profiles } from "../../../web/profiles.js";
import { ADA, settle } from "./fakes.js";

const profile = (user_id) => ({ user_id, name: `user${user_id}`, display_name: "", about: "" });

test("of all profiles that arrive the last 5,000 stay in memory, and the user's own", async () => {
  const requests = [];
  const profiles = new Profiles(async (user_ids) => (requests.push(user_ids), user_ids.map(profile)), ADA);
  const others = Array.from({ length: MAX_CACHED + 1 }, (_, at) => String(1_000 + at));
  profiles.put([ADA, ...others].map(profile));
  assert.deepEqual([ADA, ...others].filter((user_id) => !profiles.cached(user_id)), ["1000", "1001"]);
  assert.equal(profiles.get("1000"), undefined);
  await settle();
  assert.deepEqual([requests, profiles.get("1000")?.name, profiles.cached("1002")], [[["1000"]], "user1000", undefined]);
  profiles.put([profile("1003")]);
  profiles.put([profile("7")]);
  assert.deepEqual([profiles.cached("1003")?.name, profiles.cached("1004")], ["user1003", undefined]);
});

test("a user whom the server does not have is missing, and not requested again before a gap", async () => {
  const requests = [];
  let found = [];
  const profiles = new Profiles(async (user_ids) => (requests.push(user_ids), found));
  const read = async () => [profiles.get("7")?.name, profiles.isMissing("7"), await settle()].slice(0, 2);
  assert.deepEqual([await read(), await read(), requests], [[undefined, false], [undefined, true], [["7"]]]);
  profiles.expire();
  found = [profile("7")];
  assert.deepEqual([await read(), await read(), requests.length], [[undefined, true], ["user7", false], 2]);
});

test("a profile that changes while it is fetched is fetched again", async () => {
  const answers = [];
  const profiles = new Profiles(() => new Promise((resolve) => answers.push(resolve)));
  profiles.get("7");
  await settle();
  profiles.get("7");
  profiles.refresh("7");
  for (const name of ["Old", "New"]) {
    answers.shift()?.([{ ...profile("7"), display_name: name }]);
    await settle();
  }
  assert.deepEqual([profiles.cached("7")?.display_name, answers.length], ["New", 0]);
});

test("a picture of a user that fails is loaded once more, some seconds later", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { src, onerror } = avatar({ user_id: ADA, name: "ada", display_name: "", avatar: "token" }).children.at(-1).props;
  const target = { src };
  const sources = [[true, 3_999], [false, 4_001], [true, 60_000]].map(([fails, passed_ms]) => {
    if (fails) onerror({ target });
    context.mock.timers.tick(passed_ms);
    return target.src;
  });
  assert.deepEqual(sources, [src, `${src}#`, `${src}#`]);
});
