// The end of a sign-in that another user's has replaced in a browser, as by a link that sets a password.

import assert from "node:assert/strict";
import test from "node:test";
import { endReplaced } from "../../../web/stores/replaced-sign-in.js";
import { ADA, MIRA, settle } from "./fakes.js";

const signInOf = (user_id, expires_at_ms = Date.now() + 900_000) => ({
  access_token: `access ${user_id}`,
  refresh_token: `refresh ${user_id}`,
  access_token_expires_at_ms: String(expires_at_ms),
  user: { user_id, name: "", display_name: "" },
  stored_at_ms: 0,
});

/** A browser with the copies of chats, by user, and notifications; and the requests to the server, which `answer` answers. */
function useBrowser(context, answer) {
  const browser = { deleted: [], closed: 0, requests: [] };
  const store = { delete: ([user_id, kind]) => browser.deleted.push([user_id, kind]) };
  const begin = () => ({ objectStore: () => store, commit() { queueMicrotask(this.oncomplete); } });
  const open = () => {
    const request = { result: { transaction: begin } };
    queueMicrotask(() => request.onsuccess());
    return request;
  };
  const registration = { active: {}, getNotifications: async () => [{ close: () => browser.closed++ }] };
  const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", { value: { serviceWorker: { getRegistration: async () => registration } }, configurable: true });
  Object.assign(globalThis, { indexedDB: { open }, IDBKeyRange: { bound: (from) => from } });
  context.after(() => {
    if (before) Object.defineProperty(globalThis, "navigator", before);
    else delete globalThis.navigator;
    for (const name of ["indexedDB", "IDBKeyRange"]) delete globalThis[name];
  });
  context.mock.method(globalThis, "fetch", async (path, { method, headers }) => {
    browser.requests.push([method, path, headers["Authorization"] ?? ""]);
    const [status, body] = answer(path, headers["Authorization"]);
    return { ok: status < 400, status, text: async () => JSON.stringify(body) };
  });
  return browser;
}

test("the sign-in of another user ends on the server, and its copies and notifications leave the browser", async (context) => {
  const browser = useBrowser(context, () => [204, null]);
  await endReplaced(signInOf(MIRA), signInOf(ADA));
  await settle();
  assert.deepEqual(browser.requests, [["DELETE", "/v1/tokens/current", `Bearer access ${MIRA}`]]);
  assert.deepEqual([browser.deleted, browser.closed], [[[MIRA, "chat"]], 1]);
});

test("a replaced sign-in whose access token has expired is renewed to be ended", async (context) => {
  const renewed = { ...signInOf(MIRA), access_token: "renewed" };
  const answers = { "/v1/tokens/refresh": () => [200, renewed], "/v1/tokens/current": (token) => (token === "Bearer renewed" ? [204, null] : [401, { code: "unauthenticated" }]) };
  const browser = useBrowser(context, (path, token) => answers[path](token));
  await endReplaced(signInOf(MIRA, 1), signInOf(ADA));
  await settle();
  assert.deepEqual(browser.requests.at(-1), ["DELETE", "/v1/tokens/current", "Bearer renewed"]);
});

test("a new sign-in of the same user leaves the copies, and the server has ended the former one", async (context) => {
  const browser = useBrowser(context, () => [204, null]);
  await endReplaced(signInOf(ADA), signInOf(ADA));
  assert.deepEqual([browser.requests, browser.deleted, browser.closed], [[], [], 0]);
});
