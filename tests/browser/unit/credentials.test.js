// Credentials: a refresh token is used once, even if several tabs need a new access token.

import assert from "node:assert/strict";
import test from "node:test";
import { Api, NoResponse, Problem } from "../../../web/api.js";
import { Credentials, SignedOut } from "../../../web/credentials.js";
import { fakeStorage, settle } from "./fakes.js";

const tokens = (name, life_ms = 900_000) => ({
  access_token: `access ${name}`,
  refresh_token: `refresh ${name}`,
  access_token_expires_at_ms: String(Date.now() + life_ms),
  user: { user_id: "11" },
});

/** Like the locks of a browser: runs one callback after another, and every tab sees a mark at once. */
function fakeLocks() {
  let last = Promise.resolve();
  const used = new Set();
  return {
    exclusively: (work) => (last = last.then(work, work)),
    markUsed: async (refresh_token) => void used.add(refresh_token),
    isUsed: async (refresh_token) => used.has(refresh_token),
  };
}

/** The storage of two tabs: a tab reads its own writes at once and the writes of the other after `deliver`. */
function laggingStorages() {
  const storages = [fakeStorage(), fakeStorage()];
  const pending = [];
  const views = storages.map((own, tab) => ({
    getItem: own.getItem,
    setItem(key, value) {
      own.setItem(key, value);
      pending.push(() => storages[1 - tab].setItem(key, value));
    },
    removeItem: own.removeItem,
  }));
  return { views, deliver: () => pending.splice(0).forEach((write) => write()) };
}

test("a valid token is used as it is", async () => {
  const credentials = new Credentials(fakeStorage(), fakeLocks());
  credentials.store(tokens("a"));
  assert.equal(await credentials.access("", () => assert.fail("no need")), "access a");
});

test("two tabs whose token was rejected refresh once and share the new token", async () => {
  const [storage, locks, used] = [fakeStorage(), fakeLocks(), []];
  const tabs = [new Credentials(storage, locks), new Credentials(storage, locks)];
  tabs[0].store(tokens("a"));
  const refresh = async (token) => (used.push(token), tokens("b"));
  assert.deepEqual(await Promise.all(tabs.map((tab) => tab.access("access a", refresh))), ["access b", "access b"]);
  assert.deepEqual(used, ["refresh a"]);
});

test("a tab that reads a stored refresh late waits for it instead of using the replaced token", async () => {
  const [{ views, deliver }, locks, used] = [laggingStorages(), fakeLocks(), []];
  const tabs = views.map((view) => new Credentials(view, locks));
  tabs[0].store(tokens("a"));
  deliver();
  const refresh = async (token) => (used.push(token), tokens("b"));
  const access = tabs.map((tab) => tab.access("access a", refresh));
  assert.equal(await access[0], "access b");
  await settle();
  assert.equal(tabs[1].current.refresh_token, "refresh a");
  deliver();
  assert.equal(await access[1], "access b");
  assert.deepEqual(used, ["refresh a"]);
});

test("a tab that stores a profile does not restore replaced tokens", () => {
  const [{ views, deliver }, locks] = [laggingStorages(), fakeLocks()];
  const tabs = views.map((view) => new Credentials(view, locks));
  tabs[0].store(tokens("a"));
  deliver();
  tabs[0].store(tokens("b"));
  tabs[1].storeUser({ user_id: "11", display_name: "Ada" });
  deliver();
  for (const tab of tabs) assert.equal(tab.current.access_token, "access b");
  assert.equal(tabs[0].current.user.display_name, "Ada");
});

test("a browser presents the device token of its last sign-in to the account, also after a sign-out", async (context) => {
  const credentials = new Credentials(fakeStorage(), fakeLocks());
  const api = new Api(credentials);
  const sent = [];
  context.mock.method(globalThis, "fetch", async (path, request) => {
    sent.push(JSON.parse(request.body).device_token);
    return new Response(JSON.stringify({ ...tokens("a"), device_token: `device ${sent.length}` }));
  });
  for (const name of ["ada", "mira", "Ada"]) {
    await api.signIn(name, "password");
    assert.equal("device_token" in credentials.current, false);
    credentials.clear();
  }
  assert.deepEqual(sent, ["", "", "device 1"]);
  for (let number = 0; number < 10; number++) credentials.storeDeviceToken(`name ${number}`, "token");
  assert.deepEqual([credentials.deviceToken("ada"), credentials.deviceToken("name 0")], ["", "token"]);
});

test("a browser that sets a password with a link presents its device token at the sign-in", async (context) => {
  const credentials = new Credentials(fakeStorage(), fakeLocks());
  const api = new Api(credentials);
  context.mock.method(globalThis, "fetch", async () => new Response(JSON.stringify({ name: "ada", device_token: "next" })));
  assert.deepEqual(await api.resetPassword("link", "password"), { name: "ada" });
  assert.equal(credentials.deviceToken("ada"), "next");
});

test("a refused refresh ends the sign-in", async () => {
  const credentials = new Credentials(fakeStorage(), fakeLocks());
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

test("an answer to a refresh does not bring back a sign-in that has ended meanwhile, nor ends the next one", async () => {
  for (const answer of [tokens("b"), null])
    for (const next of [null, { ...tokens("c"), user: { user_id: "7" } }]) {
      const credentials = new Credentials(fakeStorage(), fakeLocks());
      credentials.store(tokens("a"));
      const refresh = async () => {
        credentials.clear();
        if (next) credentials.store(next);
        return answer;
      };
      await assert.rejects(credentials.access("access a", refresh), SignedOut);
      assert.equal(credentials.current?.refresh_token, next?.refresh_token);
    }
});

test("a person who signs in again during a refresh keeps the new sign-in", async () => {
  const credentials = new Credentials(fakeStorage(), fakeLocks());
  credentials.store(tokens("a"));
  const refresh = async () => (credentials.store(tokens("c")), null);
  assert.equal(await credentials.access("access a", refresh), "access c");
  assert.equal(credentials.current.refresh_token, "refresh c");
});

test("a refresh without a response keeps the sign-in", async () => {
  const credentials = new Credentials(fakeStorage(), fakeLocks());
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
  const credentials = new Credentials(fakeStorage(), fakeLocks());
  credentials.store(tokens("a", -3_600_000));
  assert.equal(await credentials.access("", () => assert.fail("it has only just come")), "access a");
});

test("a preloaded page of chats is used once, and only as the first page", async (context) => {
  const credentials = new Credentials(fakeStorage(), fakeLocks());
  credentials.store(tokens("a"));
  const api = new Api(credentials);
  const sent = [];
  context.mock.method(globalThis, "fetch", async (path) => (sent.push(path), new Response(`{"number": ${sent.length}}`)));
  const numbers = async (...pages) => (await Promise.all(pages.map((page) => api.chats(page)))).map(({ number }) => number);
  api.preloadChats();
  assert.deepEqual(await numbers({ cursor: "" }, {}), [1, 2]);
  api.preloadChats();
  assert.deepEqual(await numbers({ cursor: "c" }, {}), [4, 5]);
  assert.deepEqual(sent, ["/v1/chats?", "/v1/chats?", "/v1/chats?", "/v1/chats?cursor=c", "/v1/chats?"]);
});

test("the sign-in of a suspended user ends with the first response that reports it", async (context) => {
  const credentials = new Credentials(fakeStorage(), fakeLocks());
  credentials.store(tokens("a"));
  let ended = 0;
  credentials.onEnded = () => ended++;
  const answer = new Response(JSON.stringify({ code: "suspended", detail: "Suspended." }), { status: 403 });
  context.mock.method(globalThis, "fetch", async () => answer);
  await assert.rejects(new Api(credentials).me(), SignedOut);
  assert.equal(ended, 1);
  assert.equal(credentials.current, null);
});

/** A page for people, which a proxy sends in place of an answer. */
const PROXY_PAGE = "<!doctype html><title>Please sign in to the network</title>";

test("a page of a proxy in place of an answer to a refresh keeps the sign-in", async (context) => {
  for (const status of [200, 403, 404]) {
    const credentials = new Credentials(fakeStorage(), fakeLocks());
    credentials.store(tokens("a"));
    context.mock.method(globalThis, "fetch", async () => new Response(PROXY_PAGE, { status }));
    await assert.rejects(new Api(credentials).accessToken("access a"), status === 200 ? NoResponse : Problem);
    assert.equal(credentials.current?.refresh_token, "refresh a", String(status));
  }
});

test("a refresh that was ended for a late request keeps the sign-in", async (context) => {
  const credentials = new Credentials(fakeStorage(), fakeLocks());
  credentials.store(tokens("a"));
  const late = { code: "incomplete", detail: "Send this one again." };
  context.mock.method(globalThis, "fetch", async () => new Response(JSON.stringify(late), { status: 408 }));
  await assert.rejects(new Api(credentials).accessToken("access a"), { code: "incomplete" });
  assert.equal(credentials.current?.refresh_token, "refresh a");
});

test("a page of a proxy in place of an answer is no success", async (context) => {
  const credentials = new Credentials(fakeStorage(), fakeLocks());
  credentials.store(tokens("a"));
  context.mock.method(globalThis, "fetch", async () => new Response(PROXY_PAGE));
  await assert.rejects(new Api(credentials).deleteAccount("correct horse battery"), NoResponse);
  assert.ok(credentials.current);
  context.mock.method(globalThis, "fetch", async () => new Response(null, { status: 204 }));
  assert.equal(await new Api(credentials).signedIn("DELETE", "/v1/me/sign-ins/others"), null);
});
