// The composer: the message in a text, and the key that sends it.

import assert from "node:assert/strict";
import test from "node:test";
import { isForInputMethod } from "../../../web/keys.js";
import { bodyOf } from "../../../web/drafts.js";
import { markerOf, sends } from "../../../web/writing.js";

test("a message keeps the indentation of its first line, and no empty lines around it", () => {
  assert.equal(bodyOf("\n \n    if ready:\n        go()\n\n"), "    if ready:\n        go()");
  assert.equal(bodyOf(" \n\t"), "");
});

test("Enter sends, unless it breaks the line", () => {
  const enter = { key: "Enter", shiftKey: false };
  assert.ok(sends(enter));
  for (const other of [{ shiftKey: true }, { key: "a" }]) assert.equal(sends({ ...enter, ...other }), false);
});

test("a key belongs to an input method while a word is composed, and in Safari right after it", () => {
  const pressed = { isComposing: false, keyCode: 13 };
  assert.deepEqual([{}, { isComposing: true }, { keyCode: 229 }].map((keys) => isForInputMethod({ ...pressed, ...keys })), [false, true, true]);
});

test("Ctrl or Cmd with B, I and Shift+X marks the selection, and no other key does", () => {
  const pressed = { key: "b", shiftKey: false, ctrlKey: true, metaKey: false, altKey: false };
  assert.deepEqual(
    [{}, { key: "i", ctrlKey: false, metaKey: true }, { key: "X", shiftKey: true }].map((keys) => markerOf({ ...pressed, ...keys })),
    ["**", "*", "~~"],
  );
  for (const keys of [{ ctrlKey: false }, { metaKey: true }, { altKey: true }, { shiftKey: true }, { key: "x" }])
    assert.equal(markerOf({ ...pressed, ...keys }), "");
});
