// Previews of links: shown while their link is one of the text, and taken away by the sender.

import assert from "node:assert/strict";
import test from "node:test";
import { linkCard } from "../../../web/components/link-card.js";
import { previewOf } from "../../../web/kinds/previewed.js";
import { fromWire, withChanges } from "../../../web/messages.js";
import { Chats } from "../../../web/stores/chats.js";
import { Kept } from "../../../web/stores/kept.js";
import { Sending } from "../../../web/stores/sending.js";
import { ADA, changeAt, fakeDatabase, wireMessage } from "./fakes.js";

const URL_1 = "https://rookery.test/a";
const previewed = (minutes, preview) => changeAt(minutes, 1, { previewed: preview ? { preview } : {} });
const edited = (minutes, body) => changeAt(minutes, 1, { edited: { text: { body } } });
const message = fromWire(wireMessage(1, { sender_id: ADA, body: `Look: ${URL_1}` }));

/** All texts of a described element. */
const textsOf = (child) =>
  Array.isArray(child) ? child.flatMap(textsOf) : child?.children ? textsOf(child.children) : typeof child === "string" ? [child] : [];

test("a preview is shown while its link is one of the text, until it is taken away or the message is deleted", () => {
  const preview = { url: URL_1, title: "Eggs" };
  const shown = (...changes) => previewOf(withChanges(message, changes))?.title;
  assert.equal(shown(), undefined);
  assert.equal(shown(previewed(2, preview)), "Eggs");
  assert.equal(shown(previewed(2, preview), edited(3, `Better: ${URL_1}`)), "Eggs");
  assert.equal(shown(previewed(2, preview), edited(3, `**[Better](${URL_1})**`)), "Eggs");
  for (const body of ["Nothing", `${URL_1}.evil.test/login`, `https://evil.test/${URL_1}`, `\`${URL_1}\``])
    assert.equal(shown(previewed(2, preview), edited(3, body)), undefined, body);
  assert.equal(shown(previewed(2, preview), previewed(3)), undefined);
  assert.equal(shown(previewed(2, preview), changeAt(3, 1, { deleted: {} })), undefined);
});

test("a preview leads only to a page, whose host is shown whatever the page calls itself", () => {
  const card = linkCard(withChanges(message, [previewed(2, { url: URL_1, title: "Sign in", site_name: "Your \u202ebank" })]), 0);
  assert.deepEqual(textsOf(card), ["rookery.test", " ", "Your bank", "Sign in"]);
  assert.deepEqual([card.props.href, card.props.rel], [URL_1, "noopener noreferrer"]);
  const script = fromWire(wireMessage(1, { body: "javascript:alert(1) https://[" }));
  for (const url of ["javascript:alert(1)", "https://["]) assert.equal(linkCard(withChanges(script, [previewed(2, { url })]), 0), null);
});

test("a preview that the user takes away is gone at once", () => {
  const chats = new Chats(/** @type {any} */ ({}), /** @type {any} */ ({ user_id: ADA }));
  const sent = [];
  const sending = new Sending(chats, new Kept(fakeDatabase()), { send: (frame) => (sent.push(frame.change), true) }, /** @type {any} */ ({}));
  const shown = withChanges(message, [previewed(2, { url: URL_1, title: "Eggs" })]);
  sending.removePreview(shown);
  assert.equal(previewOf(sending.shown(shown)), undefined);
  assert.deepEqual([sent[0].previewed, sent[0].target_id], [{}, message.message_id]);
});
