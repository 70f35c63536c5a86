import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { LANGUAGES } from "../../../web/languages/language.js";

const WEB = new URL("../../../web/", import.meta.url);
/** Texts that are the same word in two languages. */
const SAME = new Set(["Admin", "Name", "Rookery"]);
/** Values for the texts that are functions: numbers in which plural forms differ, and names. */
const VALUES = [0, 1, 2, 3, 11, 100].map((count) => [count, "Ada", "Mira"]);

const catalogues = await Promise.all(Object.entries(LANGUAGES).map(async ([code, { load }]) => ({ code, texts: flat(await load()) })));
const english = /** @type {Map<string, any>} */ (catalogues[0]?.texts);

/** The texts by path, such as day.today. @param {object} catalogue @returns {Map<string, any>} */
function flat(catalogue, prefix = "") {
  const pairs = Object.entries(catalogue).flatMap(([key, value]) =>
    typeof value === "object" ? [...flat(value, `${prefix}${key}.`)] : [/** @type {const} */ ([prefix + key, value])],
  );
  return new Map(pairs);
}

function sources() {
  const files = readdirSync(WEB, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".js") && !file.startsWith("languages/"));
  return files.map((file) => ({ file, source: readFileSync(new URL(file, WEB), "utf8") }));
}

for (const { code, texts } of catalogues) {
  test(`every text is there in ${code}, and is a sentence for every value`, () => {
    assert.deepEqual([...texts.keys()], [...english.keys()]);
    for (const [path, text] of texts) {
      const sentences = typeof text === "function" ? VALUES.map((values) => text(...values)) : [text];
      for (const sentence of sentences) {
        assert.equal(typeof sentence, "string", path);
        assert.ok(sentence.trim() && !/undefined|null|NaN|\[object/.test(sentence), `${path}: ${sentence}`);
      }
    }
  });

  if (code !== "en")
    test(`no text is left in English in ${code}`, () => {
      const left = [...texts].filter(([path, text]) => text === english.get(path) && !SAME.has(text));
      assert.deepEqual(left.map(([path]) => path), []);
    });
}

test("every text is used", () => {
  const all = sources().map(({ source }) => source).join("\n");
  assert.deepEqual([...english.keys()].filter((path) => !all.includes(`texts.${path}`)), []);
});
