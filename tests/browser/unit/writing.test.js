// The composer: the message in a text, and the key that sends it.

import assert from "node:assert/strict";
import test from "node:test";
import { bodyOf, sends } from "../../../web/writing.js";

test("a message keeps the indentation of its first line, and no empty lines around it", () => {
  assert.equal(bodyOf("\n \n    if ready:\n        go()\n\n"), "    if ready:\n        go()");
  assert.equal(bodyOf(" \n\t"), "");
});

test("Enter sends, unless it breaks the line or ends the composition of a word", () => {
  const enter = { key: "Enter", shiftKey: false, isComposing: false, keyCode: 13 };
  assert.ok(sends(enter));
  for (const other of [{ shiftKey: true }, { isComposing: true }, { keyCode: 229 }, { key: "a" }])
    assert.equal(sends({ ...enter, ...other }), false);
});
