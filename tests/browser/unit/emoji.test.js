// Emoji: the data, search, shortcodes, skin tones, the person's choices, and the rows of the picker.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { gzipSync } from "node:zlib";

import { Catalogue, parse } from "../../../web/emoji/catalogue.js";
import { Choices, MAX_RECENT } from "../../../web/emoji/choices.js";
import { drawn } from "../../../web/emoji/drawn.js";
import { Grid } from "../../../web/emoji/grid.js";
import { REACTIONS } from "../../../web/emoji/quick.js";
import { shortcodeAtEnd } from "../../../web/emoji/shortcodes.js";
import { withTone } from "../../../web/emoji/tones.js";
import { SafeStorage } from "../../../web/stores/storage.js";
import { fakeStorage } from "./fakes.js";

const read = (name) => readFileSync(new URL(`../../../web/emoji/data/${name}`, import.meta.url), "utf8");
const data = read("emoji.txt");
const catalogue = new Catalogue(parse(data, read("names-en.txt")));
const all = catalogue.groups.flat();
const found = (query, count) =>
  catalogue
    .search(query)
    .slice(0, count)
    .map(({ emoji }) => emoji);

test("the data have all groups, and a name for each emoji in each language", () => {
  assert.equal(catalogue.groups.length, 9);
  for (const language of ["en", "de", "ar"]) {
    const named = parse(data, read(`names-${language}.txt`)).flat();
    assert.deepEqual(named.filter(({ name }) => !name), []);
    assert.ok(read(`names-${language}.txt`).trim().split("\n").length === named.length + 1, language);
  }
  assert.ok(all.length > 1900);
  assert.equal(new Set(all.flatMap(({ codes }) => codes)).size, all.flatMap(({ codes }) => codes).length);
});

test("the data of a page in English are smaller than 40 KB when they are compressed", () => {
  const bytes = ["emoji.txt", "names-en.txt"].map((name) => gzipSync(read(name), { level: 9 }).length);
  assert.ok(bytes[0] + bytes[1] < 40 * 1024, String(bytes));
});

test("an emoji is found by shortcode, name and keyword, in this order, and by several words", () => {
  assert.equal(found("fire", 1)[0], "🔥");
  assert.deepEqual(found("thumbs"), ["👍", "👎"]);
  assert.equal(found("hear", 1)[0], "❤️", "the shortest code");
  assert.equal(found("+1", 1)[0], "👍");
  assert.equal(found("RED  Heart", 1)[0], "❤️");
  assert.deepEqual(found("ger flag"), ["🇩🇪"]);
  assert.ok(found("lol").includes("🤣"), "a keyword");
  assert.ok(found("pinata").includes("🪅"), "an accent in the name");
  assert.deepEqual(found("zzqq"), []);
  assert.deepEqual(found(" "), []);
});

test("an emoji is found by itself in any skin tone, two emoji are not", () => {
  assert.deepEqual(found("👋🏽"), ["👋"]);
  assert.deepEqual(found("❤"), ["❤️"]);
  assert.deepEqual(found("😀😀"), []);
});

test("the quick reactions are emoji of the catalogue, in the form that it has", () => {
  for (const [emoji] of REACTIONS) assert.equal(catalogue.find(emoji)?.emoji, emoji);
});

for (const [emoji, toned] of [
  ["👋", "👋🏽"],
  ["☝️", "☝🏽"],
  ["🕵️‍♂️", "🕵🏽‍♂️"],
  ["🧑‍🤝‍🧑", "🧑🏽‍🤝‍🧑🏽"],
  ["👩‍❤️‍👨", "👩🏽‍❤️‍👨🏽"],
])
  test(`${emoji} has skin tones`, () => {
    assert.equal(withTone(emoji, 3), toned);
    assert.equal(withTone(emoji, 0), emoji);
    assert.ok(catalogue.find(toned).hasTones);
  });

for (const [text, expected] of [
  [":ta", { start: 0, code: "ta", isClosed: false }],
  ["well :thumbs_u", { start: 5, code: "thumbs_u", isClosed: false }],
  ["(:+1", { start: 1, code: "+1", isClosed: false }],
  ["Glück :lä", { start: 6, code: "lä", isClosed: false }],
  [":tada:", { start: 0, code: "tada", isClosed: true }],
  ["so :100:", { start: 3, code: "100", isClosed: true }],
  ...[":t", "12:30", "at :30", "https://ab", "a:bc", "std::ve", ":D ", ":ta da", `:${"a".repeat(41)}`].map((text) => [
    text,
    null,
  ]),
])
  test(`the shortcode at the end of "${text.slice(0, 20)}" is ${expected?.code ?? "none"}`, () => {
    assert.deepEqual(shortcodeAtEnd(text), expected);
  });

test("shortcodes are exact, whatever their case", () => {
  assert.equal(catalogue.coded("Tada").emoji, "🎉");
  assert.equal(catalogue.coded("tad"), undefined);
});

test("the emoji used last and the skin tone are kept, bounded, and deleted at sign-out", () => {
  const storage = new SafeStorage(fakeStorage);
  const choices = new Choices(storage);
  choices.tone = 4;
  for (const { emoji } of all.slice(0, MAX_RECENT + 5)) choices.used(emoji);
  choices.used(all[10].emoji);
  const again = new Choices(storage);
  assert.equal(again.tone, 4);
  assert.equal(again.recent.length, MAX_RECENT);
  assert.deepEqual(again.recent.slice(0, 2), [all[10].emoji, all[MAX_RECENT + 4].emoji]);
  again.clear();
  assert.deepEqual([choices.tone, choices.recent], [0, []]);
});

for (const text of ["{", "null", '"x"', '{"tone":9,"recent":"😀"}', '{"tone":"1","recent":[1]}'])
  test(`choices that are kept as ${text} are as none`, () => {
    const storage = fakeStorage();
    storage.setItem("rookery.emoji", text);
    const choices = new Choices(new SafeStorage(() => storage));
    assert.deepEqual([choices.tone, choices.recent], [0, []]);
  });

test("emoji of versions that the browser does not draw are left out, and flags where it has none", () => {
  const newest = all.findLast(({ version }) => version === "17").emoji;
  const without = (missing) => new Catalogue(drawn(catalogue.groups, (emoji) => !missing(emoji)));
  const versions = without((emoji) => catalogue.find(emoji).version === "17");
  assert.equal(versions.find(newest), undefined);
  assert.ok(versions.find("🇩🇪") && versions.find("🫠"));
  const flags = without((emoji) => emoji === "🇺🇳");
  assert.equal(flags.find("🇩🇪"), undefined);
  assert.ok(flags.find("🏁") && flags.find(newest));
  assert.equal(without(() => true).groups, catalogue.groups, "the browser hides how it draws");
});

const SIZES = { columns: 3, cell: 10, heading: 5 };
const cells = (count, name) => Array.from({ length: count }, (_, at) => `${name}${at}`);
const grid = new Grid(
  [
    { title: "A", cells: cells(5, "a") },
    { title: "none", cells: [] },
    { title: "B", cells: cells(100, "b") },
  ],
  SIZES,
);

test("only rows near the view are rendered, in their place", () => {
  const [a, b] = grid.parts(105, 135);
  assert.deepEqual(a.rows, []);
  assert.deepEqual([b.title, b.count, b.height, b.before], ["B", 34, 340, 30]);
  assert.deepEqual([b.rows[0].at, b.rows[0].index], [14, 3]);
  assert.equal(b.rows.length, 12);
});

for (const [key, from, to] of [
  ["ArrowRight", 4, 5],
  ["ArrowLeft", 0, null],
  ["ArrowDown", 0, 3],
  ["ArrowDown", 2, 4],
  ["ArrowDown", 4, 6],
  ["ArrowUp", 7, 4],
  ["ArrowUp", 1, null],
  ["ArrowDown", 104, null],
  ["Home", 4, 3],
  ["End", 5, 7],
  ["PageDown", 0, 17],
  ["PageUp", 6, 1],
  ["a", 0, null],
])
  test(`${key} leads from cell ${from} to ${to ?? "nowhere"}`, () => assert.equal(grid.move(from, key), to));

test("the view scrolls as little as it must to show a cell below its heading", () => {
  assert.equal(grid.cell(8), "b3");
  assert.equal(grid.scrolled(8, 0, 100), 0);
  assert.equal(grid.scrolled(8, 60, 100), 35);
  assert.equal(grid.scrolled(104, 0, 100), 270);
});
