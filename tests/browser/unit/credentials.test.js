// Credentials: a refresh token is used once, even if several tabs need a new access token.

import assert from "node:assert/strict";
import test from "node:test";
import { Api } from "../../../web/api.js";
import { Credentials, SignedOut } from "../../../web/credentials.js";
import { fakeStorage } from "./fakes.js";

const tokens = (name, life_ms = 900_000) => ({
  access_token: `access ${name}`,
  refresh_token: `refresh ${name}`,
  access_token_expires_at_ms: String(Date.now() + life_ms),
  user: { user_id: "11" },
});

/** Like the Web Locks API: runs one callback after another. */
function takingTurns() {
  let last = Promise.resolve();
  return (work) => (last = last.then(work, work));
}

test("a valid token is used as it is", async () => {
  const credentials = new Credentials(fakeStorage(), takingTurns());
  credentials.store(tokens("a"));
  assert.equal(await credentials.access("", () => assert.fail("no need")), "access a");
});

test("two tabs whose token was rejected refresh once and share the new token", async () => {
  const [storage, turns, used] = [fakeStorage(), takingTurns(), []];
  const tabs = [new Credentials(storage, turns), new Credentials(storage, turns)];
  tabs[0].store(tokens("a"));
  const refresh = async (token) => (used.push(token), tokens("b"));
  assert.deepEqual(await Promise.all(tabs.map((tab) => tab.access("access a", refresh))), ["access b", "access b"]);
  assert.deepEqual(used, ["refresh a"]);
});

test("a refused refresh ends the sign-in", async () => {
  const credentials = new Credentials(fakeStorage(), takingTurns());
  credentials.store(tokens("a"));
  let ended = 0;
  credentials.onEnded = () => ended++;
  await assert.rejects(
    credentials.access("access a", async () => null),
    SignedOut,
  );
  assert.equal(ended, 1);
  assert.equal(credentials.current, null);
});

test("a refresh without a response keeps the sign-in", async () => {
  const credentials = new Credentials(fakeStorage(), takingTurns());
  credentials.store(tokens("a"));
  await assert.rejects(
    credentials.access("access a", async () => {
      throw new Error("no answer");
    }),
    /no answer/,
  );
  assert.equal(credentials.current.refresh_token, "refresh a");
});

test("a wrong clock does not make every request refresh", async () => {
  const credentials = new Credentials(fakeStorage(), takingTurns());
  credentials.store(tokens("a", -3_600_000));
  assert.equal(await credentials.access("", () => assert.fail("it has only just come")), "access a");
});

test("the sign-in of a suspended user ends with the first response that reports it", async (context) => {
  const credentials = new Credentials(fakeStorage(), takingTurns());
  credentials.store(tokens("a"));
  let ended = 0;
  credentials.onEnded = () => ended++;
  const answer = new Response(JSON.stringify({ code: "suspended", detail: "Suspended." }), { status: 403 });
  context.mock.method(globalThis, "fetch", async () => answer);
  await assert.rejects(new Api(credentials).me(), SignedOut);
  assert.equal(ended, 1);
  assert.equal(credentials.current, null);
});
