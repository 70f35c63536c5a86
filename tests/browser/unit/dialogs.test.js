// Dialogs whose modules are loaded when they are first opened.

import assert from "node:assert/strict";
import test from "node:test";
import { openDialog } from "../../../web/components/open-dialog.js";
import { texts } from "../../../web/languages/language.js";

test("a dialog opens when its module is loaded; a failure is shown, and the next call loads again", async () => {
  const said = [];
  const app = { say: (text) => said.push(text) };
  const opened = [];
  const make = ({ name }) => ({ open: () => opened.push(name) });
  await openDialog(app, () => Promise.reject(new TypeError("offline")), make);
  assert.deepEqual([said, opened], [[texts.failed.noResponse], []]);
  await openDialog(app, async () => ({ name: "settings" }), make);
  assert.deepEqual([said.length, opened], [1, ["settings"]]);
});

test("of dialogs that are asked for while a module is loaded the last one opens, once", async () => {
  const app = { say: () => assert.fail("all are loaded") };
  const opened = [];
  const loads = [];
  const ask = () => openDialog(app, () => new Promise((loaded) => loads.push(loaded)), ({ name }) => ({ open: () => opened.push(name) }));
  const asked = [ask(), ask(), ask()];
  loads[2]({ name: "third" });
  loads[0]({ name: "first" });
  loads[1]({ name: "second" });
  await Promise.all(asked);
  assert.deepEqual(opened, ["third"]);
});
