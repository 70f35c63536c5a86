// The renderer changes the nodes that differ from the view, and leaves all others alone. The page is a small fake.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { h, memo, renderMemosAgain, Root } from "../../../web/view.js";
import { FakeDocument } from "./fakes.js";

let page;
beforeEach(() => (globalThis.document = page = new FakeDocument()));
afterEach(() => delete globalThis.document);

/** A page whose view is a function of one value. */
function rooted(view) {
  const parent = page.createElement("main");
  page.body.insertBefore(parent, null);
  const frames = [];
  let state;
  const root = new Root(parent, () => view(state), (work) => frames.push(work));
  const show = (value) => {
    state = value;
    root.render();
    return parent.markup;
  };
  return { root, parent, show, frames };
}

const list = (keys) => h("ul", {}, keys.map((key) => h("li", { key }, key)));

test("a view becomes elements, attributes and texts; what is absent is left out", () => {
  const { show } = rooted(() => [
    h("p", { class: "lead", hidden: true, title: null, "aria-busy": false }, "a ", 1, null, false, [undefined, "b"]),
    h("svg", {}, h("path", { d: "M1" })),
  ]);
  assert.equal(show(), '<p class="lead" hidden="">a 1b</p><svg><path d="M1"></path></svg>');
});

test("markup in a text stays text", () => {
  const { parent, show } = rooted(() => h("p", {}, "<b>"));
  show();
  assert.equal(parent.childNodes[0].childNodes[0].data, "<b>");
});

test("only what differs is changed", () => {
  const { parent, show } = rooted((name) => h("p", { class: name, id: "same" }, h("i"), name));
  show("one");
  const [before] = parent.childNodes;
  const [child] = before.childNodes;
  page.changes.length = 0;
  assert.equal(show("two"), '<p class="two" id="same"><i></i>two</p>');
  assert.equal(parent.childNodes[0], before);
  assert.equal(before.childNodes[0], child);
  assert.deepEqual(page.changes, ["attribute class", "text two"]);
  show("two");
  assert.equal(page.changes.length, 2);
});

test("attributes and listeners that are gone are removed", () => {
  const calls = [];
  const { parent, show } = rooted((on) => h("button", on ? { title: "x", onclick: () => calls.push(on) } : {}));
  show("one");
  show("two");
  parent.childNodes[0].dispatch("click");
  assert.equal(show(""), "<button></button>");
  parent.childNodes[0].dispatch("click");
  assert.deepEqual(calls, ["two"], "the present listener is called, once");
});

test("keyed children keep their elements, whatever comes, goes and moves", () => {
  const { parent, show } = rooted(list);
  const elements = new Map();
  for (const keys of ["abc", "cab", "xbay", "", "ba", "bcda", "d"]) {
    show([...keys]);
    const items = parent.childNodes[0].childNodes;
    assert.equal(items.map((item) => item.textContent).join(""), keys);
    for (const item of items) {
      const known = elements.get(item.textContent);
      if (known?.parentNode) assert.equal(item, known);
      elements.set(item.textContent, item);
    }
  }
});

test("a window that moves over a list creates and removes only the rows at its ends", () => {
  const { parent, show } = rooted(list);
  const rows = (from, to) => Array.from({ length: to - from }, (_, at) => `row ${from + at}`);
  show(rows(0, 200));
  page.changes.length = 0;
  show(rows(50, 250));
  assert.equal(page.changes.filter((change) => change.startsWith("create")).length, 50);
  assert.equal(page.changes.filter((change) => change === "remove li").length, 50);
  assert.equal(page.changes.filter((change) => change === "insert li").length, 50);
  assert.equal(parent.childNodes[0].childNodes.length, 200);
});

test("two children with one key are both shown, and both removed", () => {
  const { show } = rooted(list);
  assert.equal(show(["a", "a"]), "<ul><li>a</li><li>a</li></ul>");
  assert.equal(show([]), "<ul></ul>");
});

test("an optional child does not change its siblings", () => {
  const { parent, show } = rooted((isShown) => [isShown && h("b"), h("i")]);
  show(true);
  const [, kept] = parent.childNodes;
  show(false);
  assert.deepEqual(parent.childNodes, [kept]);
  show(true);
  assert.equal(parent.childNodes[1], kept);
});

test("a memo is rendered again only after a change of its dependencies, or of all memos", () => {
  let renderings = 0;
  const { show } = rooted((deps) => memo("part", deps, () => h("p", {}, ++renderings)));
  show([1, "a"]);
  show([1, "a"]);
  assert.equal(show([2, "a"]), "<p>2</p>");
  renderMemosAgain();
  assert.equal(show([2, "a"]), "<p>3</p>");
  assert.equal(show([2, "a"]), "<p>3</p>");
});

test("an element that was made elsewhere is placed as it is", () => {
  const { parent, show } = rooted((node) => h("p", {}, node));
  const [one, other] = [page.createElement("i"), page.createElement("b")];
  show(one);
  show(one);
  assert.equal(parent.childNodes[0].childNodes[0], one);
  assert.equal(show(other), "<p><b></b></p>");
});

test("an element of another kind takes the place of one with its key", () => {
  const { show } = rooted((tag) => h("p", {}, h(tag, { key: "a" }), h("u")));
  show("i");
  assert.equal(show("b"), "<p><b></b><u></u></p>");
});

test("`ref` is called once with the new element, and `after` when the view is on the page", () => {
  const order = [];
  const { root, parent, show } = rooted(() => {
    root.after(() => order.push(`after ${parent.childNodes.length}`));
    return h("p", { ref: (element) => order.push(element.tagName) });
  });
  show();
  show();
  assert.deepEqual(order, ["p", "after 1", "after 1"]);
});

test("any number of changes before a frame lead to one rendering, and none after the end", () => {
  let renderings = 0;
  const { root, frames } = rooted(() => void renderings++);
  for (let change = 0; change < 50; change++) root.invalidate();
  frames.splice(0).forEach((frame) => frame());
  assert.equal(renderings, 1);
  root.invalidate();
  root.stop();
  frames.splice(0).forEach((frame) => frame());
  assert.equal(renderings, 1);
});

test("changes that are made right before a rendering are in it, and lead to no other one", () => {
  let renderings = 0;
  const { root, frames } = rooted(() => void renderings++);
  root.before = root.invalidate;
  root.invalidate();
  frames.splice(0).forEach((frame) => frame());
  assert.deepEqual([renderings, frames.length], [1, 0]);
});

test("a failure right before a rendering does not keep the next one from the page", () => {
  let renderings = 0;
  const { root, frames } = rooted(() => void renderings++);
  root.before = () => {
    throw new Error("failed");
  };
  root.invalidate();
  assert.throws(() => frames.splice(0).forEach((frame) => frame()));
  root.before = () => {};
  root.invalidate();
  frames.splice(0).forEach((frame) => frame());
  assert.equal(renderings, 1);
});

test("the focus stays on a moved element, and goes to the nearest one around a removed element", () => {
  const view = (keys) =>
    h("div", { tabindex: 0 }, keys.map((key) => h("p", { key, tabindex: -1 }, key === "b" && h("a"))));
  const { parent, show } = rooted(view);
  show(["a", "b"]);
  const item = parent.childNodes[0].childNodes[0];
  item.focus();
  show(["b", "a"]);
  assert.equal(page.activeElement, item);
  show(["b"]);
  assert.equal(page.activeElement, parent.childNodes[0]);
});
