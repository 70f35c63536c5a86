// Markup as elements of the page. The page is a small fake.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { formatted, otherHost } from "../../../web/components/formatted.js";
import { Root } from "../../../web/view.js";
import { FakeDocument } from "./fakes.js";

beforeEach(() => Object.assign(globalThis, { document: new FakeDocument(), location: { origin: "https://chat.example" } }));
afterEach(() => ["document", "location"].forEach((name) => delete globalThis[name]));

/** The element of a message's text. */
function shown(body, copy = () => {}, mentioning = { mentions: [] }) {
  const { body: parent } = document;
  new Root(parent, () => formatted(body, { tabindex: 0, copy, ...mentioning })).render();
  return parent.firstChild;
}

test("links open in another tab without a referrer, and isolated; a link to a message opens here", () => {
  const link = (href, dir) => `<a href="${href}" target="_blank" rel="noopener noreferrer" tabindex="0" dir="${dir}">`;
  const { markup } = shown("https://a.example [\u202etext](https://b.example) https://chat.example/#d-7-11/5");
  const [first, second, third] = markup.match(/<a .*?<.a>/g);
  assert.equal(first, `${link("https://a.example", "ltr")}https://a.example</a>`);
  assert.equal(second, `${link("https://b.example", "auto")}text</a>`);
  assert.ok(!third.includes("_blank"));
});

test("a link whose text looks like another address shows where it leads", () => {
  for (const [text, url, host] of [
    ["here", "https://a.example", ""],
    ["version 1.2", "https://a.example", ""],
    ["A.example/docs", "https://a.example/x", ""],
    ["https://a.example?x", "http://a.example", ""],
    ["ada@a.example", "mailto:ada@a.example", ""],
    ["bank.example", "https://a.example", "a.example"],
    ["see https://bank.example", "https://a.example:8443", "a.example:8443"],
    ["https://bank.example@a.example", "https://a.example", "a.example"],
    ["bank\u2024example", "https://a.example", "a.example"],
    ["elpmaxe.knab\u202e", "https://a.example", "a.example"],
    ["ada@a.example", "mailto:eve@a.example", "eve@a.example"],
  ])
    assert.equal(otherHost(text, url), host, text);
});

test("blocks become elements: code is copied as it was written, numbers stay, quotes and lists nest", () => {
  const copied = [];
  const text = shown("> a\n\n7. b\n  - c\n\n```js\n1 < 2\n```\n", (code) => copied.push(code));
  const [quote, list, code] = text.childNodes;
  assert.equal(quote.outside, '<blockquote dir="auto"><p dir="auto">a</p></blockquote>');
  assert.equal(list.outside, '<ol dir="auto"><li value="7">b<ul dir="auto"><li>c</li></ul></li></ol>');
  assert.match(code.markup, /<span dir="ltr">js<.span>.*<pre dir="ltr" tabindex="0"><code>1 < 2<.code><.pre>$/);
  code.childNodes[0].childNodes[1].dispatch("click");
  assert.deepEqual(copied, ["1 < 2"]);
});

test("a spoiler is covered by a button", () => {
  assert.match(
    shown("||**x**||").markup,
    /^<button [^>]*tabindex="0">Spoiler<.button><span [^>]*hidden=""[^>]*><strong>x<.strong><.span>$/,
  );
});

test("a few emoji alone are large; tags in a text are text", () => {
  assert.equal(shown("🎉").outside, '<span class="text large">🎉</span>');
  assert.equal(shown("🎉 `x`").outside, '<span class="text">🎉 <code dir="ltr">x</code></span>');
  assert.deepEqual(shown("<img src=x>").childNodes.map(({ tagName }) => tagName), [""]);
});

test("a mention is a button with today's name, isolated and as text; one's own looks different, and code has none", () => {
  const opened = [];
  const mentions = [{ user_id: "7", name: "Mira" }, { user_id: "11", name: "me" }];
  const nameOf = ({ user_id }) => (user_id === "7" ? "<b>عمر" : "Ada");
  const open = (user_id) => opened.push(user_id);
  const text = shown("@Mira @me `@Mira`", undefined, { mentions, nameOf, me: "11", open });
  const button = (look, name) => `<button class="${look}" type="button" tabindex="0" dir="auto">@${name}</button>`;
  assert.equal(text.markup, `${button("mention", "<b>عمر")} ${button("mention own", "Ada")} <code dir="ltr">@Mira</code>`);
  assert.deepEqual(text.childNodes[0].childNodes.map(({ tagName }) => tagName), [""]);
  text.childNodes[0].dispatch("click");
  assert.deepEqual(opened, ["7"]);
});
