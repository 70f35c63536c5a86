// The settings of a browser: kept, the same in its tabs, and applied to the page; and the name of the browser.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { applyAppearance } from "../../../web/appearance.js";
import { deviceName } from "../../../web/device.js";
import { enter } from "../../../web/entry.js";
import { isTouchScreen } from "../../../web/focus.js";
import { setTimeFormat, timeOfDay } from "../../../web/format.js";
import { Settings } from "../../../web/stores/settings.js";
import { fakeStorage, usePage } from "./fakes.js";

const KEY = "rookery.settings";
const EVENING = new Date(2026, 10, 24, 18, 5).getTime();
let storage;
let page;
beforeEach(() => {
  storage = fakeStorage();
  page = new EventTarget();
});

const written = (key) => page.dispatchEvent(Object.assign(new Event("storage"), { key }));

test("a setting has its default until it is chosen, and is kept", () => {
  const settings = new Settings(storage);
  assert.deepEqual([settings.get("theme"), settings.get("desktop"), settings.get("typing")], ["system", "unset", "shown"]);
  settings.set("theme", "dark");
  settings.set("typing", "hidden");
  const again = new Settings(storage);
  assert.deepEqual([again.get("theme"), again.get("desktop"), again.get("typing")], ["dark", "unset", "hidden"]);
});

test("corrupt settings, and values of another version, are the defaults", () => {
  for (const text of ["{", "7", "null", '"x"', '{"theme": "sepia", "sound": {}}']) {
    storage.setItem(KEY, text);
    const settings = new Settings(storage);
    assert.deepEqual([settings.get("theme"), settings.get("sound")], ["system", "on"], text);
    settings.set("theme", "light");
    assert.equal(new Settings(storage).get("theme"), "light");
  }
});

test("a setting of another tab is followed, and none is lost if two tabs write", () => {
  const [one, other] = [new Settings(storage), new Settings(storage)];
  let changes = 0;
  one.follow(page);
  one.subscribe(() => changes++);
  other.set("theme", "dark");
  written("rookery.profile");
  assert.equal(changes, 0);
  written(KEY);
  assert.equal(one.get("theme"), "dark");
  assert.equal(changes, 1);
  other.set("sound", "off");
  one.set("content", "hidden"); // before the storage event
  const all = new Settings(storage);
  assert.deepEqual([all.get("theme"), all.get("sound"), all.get("content")], ["dark", "off", "hidden"]);
});

test("another language reloads the page once that loses nothing", async (context) => {
  let reloads = 0;
  const { document } = usePage(context, { window: page, addEventListener() {}, localStorage: storage, location: { reload: () => reloads++ } });
  document.documentElement = { dataset: {}, querySelectorAll: () => [] };
  const navigator = Object.getOwnPropertyDescriptor(globalThis, "navigator"); // Node's own has no setter
  Object.defineProperty(globalThis, "navigator", { value: { userAgent: "" }, configurable: true });
  context.after(() => (navigator ? Object.defineProperty(globalThis, "navigator", navigator) : delete globalThis.navigator));
  const entry = await enter(async () => {});
  const other = new Settings(storage);
  let isSafe = false;
  entry.mayReload = () => isSafe;
  other.set("language", "de");
  written(KEY);
  assert.equal(reloads, 0);
  isSafe = true;
  entry.followLanguage();
  assert.equal(reloads, 1);
  other.set("language", "system");
  written(KEY);
  entry.followLanguage();
  assert.equal(reloads, 1, "the language of this page");
  other.set("language", "ar");
  written(KEY);
  assert.equal(reloads, 2);
});

test("theme, text size and time format are applied at once, and when they change", () => {
  storage.setItem(KEY, '{"theme": "dark"}');
  const settings = new Settings(storage);
  const bars = ["light", "dark"].map((scheme) => ({ media: `(prefers-color-scheme: ${scheme})` }));
  const root = { dataset: {}, querySelectorAll: () => bars };
  applyAppearance(settings, root);
  assert.deepEqual(root.dataset, { theme: "dark", textSize: "normal" });
  assert.deepEqual(bars, [{ media: "none" }, { media: "all" }]);
  settings.set("text_size", "large");
  settings.set("theme", "system");
  assert.deepEqual(root.dataset, { theme: "system", textSize: "large" });
  assert.equal(bars[1].media, "(prefers-color-scheme: dark)");
  settings.set("time_format", "24");
  assert.match(timeOfDay(EVENING), /^18[:.]05$/);
  settings.set("time_format", "12");
  assert.match(timeOfDay(EVENING), /^0?6[:.]05\s/);
  setTimeFormat("system");
});

test("a browser is named by its most special name, and its system", () => {
  const chrome = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36";
  for (const [userAgent, name] of [
    [chrome, "Chrome on Windows"],
    [`${chrome} Edg/130.0`, "Edge on Windows"],
    [`${chrome} OPR/115.0`, "Opera on Windows"],
    ["Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0", "Firefox on Linux"],
    ["Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/130.0 Mobile Safari/537.36", "Chrome on Android"],
    ["Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile Safari/604.1", "Safari on iPhone"],
    ["Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/18.0 Safari/605.1.15", "Safari on macOS"],
    ["curl/8", "Browser"],
  ])
    assert.equal(deviceName(userAgent), name);
});

test("a machine with a keyboard alone is no touch screen", (t) => {
  t.after(() => void delete globalThis.matchMedia);
  for (const [pointer, isTouched] of [["coarse", true], ["fine", false], ["none", false]]) {
    globalThis.matchMedia = (query) => ({ matches: query === `(pointer: ${pointer})` });
    assert.equal(isTouchScreen(), isTouched, pointer);
  }
});
