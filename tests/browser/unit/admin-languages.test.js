// The catalogues of the admin page: complete, translated, and the only place of its texts.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { CATALOGUES } from "../../../web/admin/languages/language.js";
import { LANGUAGES } from "../../../web/languages/language.js";

const ADMIN = new URL("../../../web/admin/", import.meta.url);
/** Texts that are the same in English and German. */
const SAME = [
  ...["roles.gateway.title", "roles.bff.title", "processes.transports", "processes.version"],
  ...["users.displayName", "user.admin", "reports.chat", "link.link"],
];
/** Values for the texts that are functions: numbers in which plural forms differ, and names. */
const VALUES = [0, 1, 2, 3, 11, 100].map((count) => [count, "7", "Mira"]);
/** Literals that are no texts: names of keys, and the product's name. */
const NAMES = new Set(["Escape", "Enter", "ArrowDown", "Rookery"]);

/** The sentences by path, such as frame.live; for a function, one sentence for each of the values. */
function flat(catalogue, prefix = "") {
  return Object.entries(catalogue).flatMap(([key, value]) => {
    if (typeof value === "object") return flat(value, `${prefix}${key}.`);
    return [[prefix + key, typeof value === "function" ? VALUES.map((values) => value(...values)) : [value]]];
  });
}

const english = flat(await CATALOGUES.en());
const sources = readdirSync(ADMIN)
  .filter((file) => file.endsWith(".js"))
  .map((file) => readFileSync(new URL(file, ADMIN), "utf8").replace(/\/\*[^]*?\*\/|(?<=^|\s)\/\/.*$/gm, ""));

for (const code of Object.keys(LANGUAGES)) {
  const texts = flat(await CATALOGUES[code]());

  test(`every text of the admin page is there in ${code}, and is a sentence for every value`, () => {
    assert.deepEqual(texts.map(([path]) => path), english.map(([path]) => path));
    for (const [path, sentences] of texts)
      for (const sentence of sentences)
        assert.ok(sentence.trim() && !/undefined|null|NaN|\[object/.test(sentence), `${path}: ${sentence}`);
  });

  if (code !== "en")
    test(`no text of the admin page is left in English in ${code}`, () => {
      const same = texts.filter(([, sentences], at) => sentences.join() === english[at][1].join());
      assert.deepEqual(same.map(([path]) => path), code === "de" ? SAME : []);
    });
}

test("every text of the admin page is used", () => {
  const all = sources.join("\n");
  const isUsed = (path) => all.includes(`texts.${path}`) || /^(acts|roles|sections)\./.test(path);
  assert.deepEqual(english.map(([path]) => path).filter((path) => !isUsed(path)), []);
});

test("every act that the server records has a text", async () => {
  const acts = readFileSync(new URL("../../shared/accounts/audit.py", ADMIN), "utf8").matchAll(/^ {4}[A-Z_]+ = "(\w+)"/gm);
  assert.deepEqual(Object.keys((await CATALOGUES.en()).acts).sort(), [...acts].map(([, act]) => act).sort());
});

test("the catalogues have all texts of the admin page", () => {
  const literals = sources.flatMap((source) => source.match(/"[^"\n]*"|`[^`]*`/g) ?? []);
  const plain = literals.map((literal) => literal.slice(1, -1).replace(/\$\{[^}]*\}/g, "x"));
  const isText = (words) => /^[A-Z][a-z]|[a-z]{2}[.,:?…]? [A-Z]|(\b[a-z]+ ){3}[a-z]/.test(words) && !NAMES.has(words);
  assert.deepEqual(plain.filter(isText), []);
});
