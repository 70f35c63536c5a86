// Notifications of the browser: by the service worker where there is one, otherwise by the page.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import * as banners from "../../../web/banners.js";
import { CHAT, settle } from "./fakes.js";

let shown;
let worker;
const TEXTS = { title: "Mira", body: "hello" };

/** A notification of the page, or of the worker. */
class Banner {
  static reads = 0;
  static get permission() {
    Banner.reads++;
    return "granted";
  }
  static requestPermission = async () => "denied";

  constructor(title, options) {
    if (Banner.fails) throw new TypeError("Illegal constructor");
    shown.push(Object.assign(this, { title, ...options }));
  }

  close() {
    shown.splice(shown.indexOf(this), 1);
  }
}

/** Node's own `navigator`, in versions that have one, has no setter. */
const setNavigator = (value) => Object.defineProperty(globalThis, "navigator", { value, configurable: true });

beforeEach(() => {
  shown = [];
  Banner.fails = false;
  worker = {
    active: {},
    showNotification: async (title, options) => void new Banner(title, { ...options, byWorker: true }),
    getNotifications: async ({ tag }) => shown.filter((banner) => banner.byWorker && (!tag || banner.tag === tag)),
  };
  setNavigator({ serviceWorker: { getRegistration: async () => worker } });
  Object.assign(globalThis, { isSecureContext: true, Notification: Banner, focus: () => {} });
});
afterEach(() => {
  for (const name of ["navigator", "isSecureContext", "Notification", "focus"]) delete globalThis[name];
});

test("the service worker shows notifications, which name their chat", async () => {
  banners.show(CHAT, TEXTS, () => {});
  await settle();
  const [{ title, body, byWorker, tag, data }] = shown;
  assert.deepEqual([title, body, byWorker, tag, data], ["Mira", "hello", true, CHAT, { chat_id: CHAT }]);
  banners.close("another chat");
  await settle();
  assert.equal(shown.length, 1);
  banners.close(CHAT);
  await settle();
  assert.equal(shown.length, 0);
});

test("all notifications are closed at once, also those that another tab or a former page has shown", async () => {
  new Banner("Grace", { tag: "another chat", byWorker: true });
  banners.show(CHAT, TEXTS, () => {});
  await settle();
  setNavigator({ serviceWorker: { getRegistration: async () => undefined } });
  banners.show(CHAT, TEXTS, () => {});
  await settle();
  assert.equal(shown.length, 3);
  setNavigator({ serviceWorker: { getRegistration: async () => worker } });
  banners.close();
  await settle();
  assert.equal(shown.length, 0);
});

test("without an active service worker the page shows them, and a click opens the chat", async () => {
  let opened = 0;
  for (const without of [{ getRegistration: async () => undefined }, { getRegistration: async () => ({}) }, undefined]) {
    setNavigator({ serviceWorker: without });
    banners.show(CHAT, TEXTS, () => opened++);
    await settle();
    assert.equal(shown.length, 1);
    shown[0].onclick();
    assert.equal(shown.length, 0);
  }
  assert.equal(opened, 3);
});

test("what was closed while it was being shown does not stay", async () => {
  banners.show(CHAT, TEXTS, () => {});
  banners.close(CHAT);
  await settle();
  assert.equal(shown.length, 0);
});

test("a notification that can't be shown is none", async () => {
  setNavigator({});
  Banner.fails = true;
  banners.show(CHAT, TEXTS, () => {});
  await settle();
  Banner.fails = false;
  banners.show(CHAT, TEXTS, () => {});
  await settle();
  assert.equal(shown.length, 1);
});

test("where the address is not safe, or the browser has none, there is no permission to ask for", async () => {
  assert.deepEqual([banners.permission(), await banners.askForPermission()], ["granted", "denied"]);
  globalThis.isSecureContext = false;
  assert.deepEqual([banners.isSupported(), banners.permission(), await banners.askForPermission()], [false, "denied", "denied"]);
  globalThis.isSecureContext = true;
  delete globalThis.Notification;
  assert.deepEqual([banners.isSupported(), banners.permission()], [false, "denied"]);
});

test("the browser is asked for its permission once a second at most, and again after the person was asked", async () => {
  await banners.askForPermission();
  Banner.reads = 0;
  assert.deepEqual([banners.permission(), banners.permission(), Banner.reads], ["granted", "granted", 1]);
  await banners.askForPermission();
  banners.permission();
  assert.equal(Banner.reads, 2);
});
