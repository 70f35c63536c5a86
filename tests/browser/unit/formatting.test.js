// The markup of messages: texts with and without it, and bounds for every text.

import assert from "node:assert/strict";
import test from "node:test";
import { parse, plainText } from "../../../web/formatting.js";

const KINDS = { bold: "b", italic: "i", struck: "s", spoiler: "spoiler", quote: "quote", paragraph: "p" };

/** The tree in short: tags around children, `link` and `code` with their properties. */
function short(node) {
  if (node.kind === "text") return node.text;
  if (node.kind === "code") return `<code>${node.text}</code>`;
  if (node.kind === "link") return `<a ${node.url}>${node.text}</a>`;
  if (node.kind === "fence") return `<pre ${node.language}>${node.text}</pre>`;
  const items = node.items?.map((item) => `<${item.marker}>${all(item.children)}${all(item.lists)}`);
  return items ? `<${node.isOrdered ? "ol" : "ul"}>${items.join("")}` : `<${KINDS[node.kind]}>${all(node.children)}</>`;
}

const all = (nodes) => nodes.map(short).join("");

/** The parts of a text in one paragraph. */
function inline(text) {
  const [paragraph, ...others] = parse(text);
  assert.deepEqual([paragraph.kind, others], ["paragraph", []], text);
  return all(paragraph.children);
}

test("the markup inside of lines", () => {
  for (const [text, expected] of [
    ["**bold** *it* _it_ ~~old~~ `code`", "<b>bold</> <i>it</> <i>it</> <s>old</> <code>code</code>"],
    ["||the end||", "<spoiler>the end</>"],
    ["***both*** **b *i***", "<i><b>both</></> <b>b <i>i</></>"],
    ["(**a**), ~~_b_~~!", "(<b>a</>), <s><i>b</></>!"],
    ["*one *two*", "*one <i>two</>"],
    ["**a _b** c_", "<b>a _b</> c_"],
    ["*not\nover lines*", "*not\nover lines*"],
    ["中文**粗体**中文, 단어**굵게**는, و**كلمة**", "中文<b>粗体</>中文, 단어<b>굵게</>는, و<b>كلمة</>"],
    ["`` `a` `` ```b```", "<code>`a`</code> <code>b</code>"],
    ["`**a** ||b|| https://x.example` `c", "<code>**a** ||b|| https://x.example</code> `c"],
  ])
    assert.equal(inline(text), expected);
});

test("code, prices, names and faces stay as they are", () => {
  for (const text of [
    ...["snake_case_names", "2 * 3 * 4", "2*3*4", "*", "a * b*c", "2**8**2", "$5* and $6*", "f(*args, **kwargs)"],
    ...["src/*/test/*.js", "/*comment*/", "__init__", "a || b || c", "a||b||c", "~5 ~6", "**", "****", "``", "||||"],
    ...["¯\\_(ツ)_/¯", "^_^ ^_^", ">>> print(1)", ">_<", "# no heading", "| no | table |", "![no](image)", "-5", "1.5"],
    ...["ключ_от_двери", "שם_של_קובץ", "<b>bold</b>", "&amp;", "[x]", "[x](y)", "[](y)", "https://"],
  ])
    assert.equal(inline(text), text);
});

test("addresses become links without the punctuation and markers around them", () => {
  for (const [text, ...addresses] of [
    ["See https://a.example/x?y=1, or (http://b.example).", "https://a.example/x?y=1", "http://b.example"],
    ["https://a.example/some_page_(x)/*y*/z", "https://a.example/some_page_(x)/*y*/z"],
    ["**https://a.example** (||https://b.example||)", "https://a.example", "https://b.example"],
    ["~~https://c.example/~d~~", "https://c.example/~d"],
    ["https://a.example/\u202egpj.exe", "https://a.example/"],
  ]) {
    const found = [...inline(text).matchAll(/<a (.*?)>\1<\/a>/g)].map((match) => match[1]);
    assert.deepEqual(found, addresses);
  }
});

test("a link with a text leads to http, https and mailto only", () => {
  for (const url of ["https://a.example/(b)", "http://a.example", "mailto:ada@a.example"])
    assert.equal(inline(`**[a text](${url})**`), `<b><a ${url}>a text</a></>`);
  for (const url of ["javascript:alert(1)", "data:text/html,x", "vbscript:x", "//a.example", "https://"])
    assert.equal(inline(`[x](${url})`), `[x](${url})`);
  assert.ok(!inline("[x](https://a.example/\u202ey)").includes("<a https://a.example/\u202ey>"));
});

test("blocks", () => {
  for (const [text, expected] of [
    ["one\n\ntwo", "<p>one\n\ntwo</>"],
    ["see\n\n```js\nlet x = *1*;\n\n```\n\nend", "<p>see</><pre js>let x = *1*;\n</pre><p>end</>"],
    ["```\nnever ended", "<p>```\nnever ended</>"],
    ["> a *b*\n> > c\nd", "<quote><p>a <i>b</></><quote><p>c</></></><p>d</>"],
    ["> ```\n> x\n> ```", "<quote><pre >x</pre></>"],
    ["- a\n  - **b**\n  3. c\n- d", "<ul><->a<ul><-><b>b</><ol><3.>c<->d"],
    ["1. a\n7. b\n- c", "<ol><1.>a<7.>b<ul><->c"],
    ["  - a", "<ul><->a"],
  ])
    assert.equal(all(parse(text)), expected);
});

test("a single line shows texts without markup, and no spoiler", () => {
  assert.equal(plainText("**a** [b](https://x.example) `c` ||**d** `e`||"), "a b c ▒▒▒");
  assert.equal(plainText("> q\n- a\n  - b\n1. c\n```\nd\n```"), "q\n- a\n- b\n1. c\nd");
});

test("quotes in quotes and the number of nodes are bounded, and the rest is text", () => {
  const depth = (blocks) => Math.max(0, ...blocks.map((block) => (block.kind === "quote" ? 1 + depth(block.children) : 0)));
  assert.equal(depth(parse("> ".repeat(100) + "x")), 4);
  const [{ children }] = parse("**a** ".repeat(5_000));
  assert.equal(children.filter(({ kind }) => kind === "bold").length, 1_000);
  assert.equal(plainText("**a** ".repeat(5_000)), "a ".repeat(1_000) + "**a** ".repeat(4_000));
});

/** Numbers from 0 to 1, the same in each run. */
function* numbers(state = 1) {
  for (;;) yield ((state = (state * 48_271) % 0x7fffffff) / 0x7fffffff);
}

const PIECES = [
  ...["**", "*", "***", "_", "~~", "||", "`", "``", "```", "```js", "> ", ">", "- ", "  - ", "1. ", "\n", "\n\n", " ", "\r\n"],
  ...["[", "]", "](", ")", "[a](https://b.example)", "https://", "https://c.example/_d_", "mailto:"],
  ...["\u202e", "\ud83d", "🎉", "x", "اب", "字"],
];

/** All leaves of a tree, in order. */
const leaves = (node) =>
  "text" in node ? [node] : (node.children ?? node.items.flatMap((item) => [...item.children, ...item.lists])).flatMap(leaves);

test("every text is parsed, and nothing of it is lost but its markers", () => {
  const random = numbers();
  const below = (limit) => Math.floor(random.next().value * limit);
  for (let round = 0; round < 3_000; round++) {
    const text = Array.from({ length: below(40) }, () => PIECES[below(PIECES.length)]).join("");
    const blocks = parse(text);
    assert.equal(blocks.map(({ start, end }) => text.slice(start, end)).join(""), text);
    let end = 0;
    let markers = "";
    for (const leaf of blocks.flatMap(leaves)) {
      assert.ok(leaf.start >= end && leaf.end > leaf.start, JSON.stringify(text));
      if (leaf.kind === "text") assert.equal(leaf.text, text.slice(leaf.start, leaf.end));
      else assert.ok(leaf.kind === "fence" || text.slice(leaf.start, leaf.end).includes(leaf.text));
      markers += text.slice(end, leaf.start);
      end = leaf.end;
    }
    assert.match(markers + text.slice(end), /^[\s>*_~|\-1.]*$/, JSON.stringify(text));
    const words = text.replace(/[*_~|`>[\]\-:]|\d\./g, "");
    assert.equal(plainText(words), words);
  }
});

test("the CPU time of parsing grows with the size of a text, not with its square", () => {
  const SIZE = 32 * 1024;
  const cpu_ms = (text) => {
    const before = process.cpuUsage();
    parse(text);
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1_000;
  };
  const pairs = PIECES.flatMap((piece) => [piece, `${piece}a`, `${piece} `, `${piece}\n`, `a${piece}`]);
  const bombs = ["**a*b_c~~d||", "` `` ``` ", "[a](http://", "[a](http://b(", "[a](http://(b)", "http://[", "```\nx\n```\n", "> > > > > a\n", "https://a."];
  for (const pattern of [...pairs, ...bombs]) {
    const whole = pattern.repeat(Math.ceil(SIZE / pattern.length)).slice(0, SIZE);
    const quarter = whole.slice(0, SIZE / 4);
    let [of_whole, of_quarter] = [Infinity, Infinity]; // other programs can only raise the times
    const isLinear = () => of_whole < 8 * of_quarter + 5; // four times plus the noise; a square would be 16 times
    for (let attempt = 0; attempt < 20 && !(attempt && isLinear()); attempt++) {
      of_quarter = Math.min(of_quarter, cpu_ms(quarter));
      of_whole = Math.min(of_whole, cpu_ms(whole));
    }
    assert.ok(isLinear(), `${of_whole} ms for ${JSON.stringify(pattern)}, ${of_quarter} ms for a quarter of it`);
  }
});
