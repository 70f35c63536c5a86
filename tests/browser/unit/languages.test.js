import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { CATALOGUES } from "../../../web/languages/dialogs.js";
import { en } from "../../../web/languages/en.js";
import { FILE_CATALOGUES } from "../../../web/languages/files.js";
import * as language from "../../../web/languages/language.js";
import { explain, Problem } from "../../../web/api.js";
import { refusalText } from "../../../web/refusals.js";

const WEB = new URL("../../../web/", import.meta.url);
const { LANGUAGES } = language;
/** Texts that are the same in two languages: a word, or an order of values. */
const SAME = new Set(["Admin", "Chats", "Links", "Name", "Rookery", "Spoiler", "online"]);
const SAME_ORDER = new Set(
  ["moreThan", "shell.title", "shell.unread", "shell.announced", "files.captioned", "kindAndSize", "viewer.sentBy", "message.by", "message.stateAt", "reaction.count", "reaction.countBy"],
);
/** Texts that are not for people, by kind: names of products, keys, names of the browser and of classes, paths, and
 * texts of logs. */
const NOT_SHOWN = new Set([
  ...["Rookery", "Edge", "Opera", "Firefox", "Chrome", "Safari", "Android", "Windows", "Linux"],
  ...["Enter", "Escape", "Tab", "Backspace", "Home", "End", "Page"],
  ...["Authorization", "Bearer ", "Files", "Notification", "noopener noreferrer", "waiting messages-waiting", "composer-about composer-note"],
  ...["/v1/chats?", "/v1/chats//files?", "/v1/chats//messages?", "/v1/public-chats?"],
  ...["no response", "the page has the status  and the version ", "no response in time"],
  ...["the browser has not kept the file", "the bytes of the file can't be read"],
]);
/** Values for the texts that are functions: numbers in which plural forms differ, and names. */
const VALUES = [0, 1, 2, 3, 11, 100].map((count) => [count, "Ada", "Mira"]);

/** The texts of the first load, of the dialogs and of files, by the names that modules import. @type {Record<string, Record<string, () => Promise<object>>>} */
const LOADS = {
  texts: Object.fromEntries(Object.entries(LANGUAGES).map(([code, { load }]) => [code, load])),
  dialogTexts: CATALOGUES,
  fileTexts: FILE_CATALOGUES,
};
const catalogues = await Promise.all(
  Object.entries(LOADS).flatMap(([name, loads]) =>
    Object.entries(loads).map(async ([code, load]) => ({ name, code, texts: flat(await load()) })),
  ),
);
/** @param {string} name */
const englishOf = (name) => /** @type {Map<string, any>} */ (catalogues.find((one) => one.name === name)?.texts);

/** The texts by path, such as day.today. @param {object} catalogue @returns {Map<string, any>} */
function flat(catalogue, prefix = "") {
  const pairs = Object.entries(catalogue).flatMap(([key, value]) =>
    typeof value === "object" ? [...flat(value, `${prefix}${key}.`)] : [/** @type {const} */ ([prefix + key, value])],
  );
  return new Map(pairs);
}

/** The modules of the page besides the catalogues. The admin page has its own. */
function sources() {
  const files = readdirSync(WEB, { recursive: true, encoding: "utf8" });
  return files
    .filter((file) => file.endsWith(".js") && !/^(admin|languages)\//.test(file))
    .map((file) => ({ file, source: readFileSync(new URL(file, WEB), "utf8") }));
}

/** The literals of a module without its comments, imports, placeholders and inserted values. @param {string} source */
function literals(source) {
  const code = source.replace(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$|^import .*$|\{\{[^}]*\}\}/gm, "");
  return [...code.matchAll(/"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`/g)].map(([, plain, template]) =>
    (plain ?? template ?? "").replace(/\$\{[^}]*\}/g, ""),
  );
}

/** Whether a literal looks like a text: a capital letter first, the end of a sentence, or two words. @param {string} literal */
const isText = (literal) =>
  /^\W*[A-Z][a-z]+(?![A-Za-z-])/.test(literal) || /[a-z][.!?]$|…/.test(literal) || /[a-z]{2,} [a-z]{2,}/.test(literal);

/** Codes and fields of refusals, and classes of the styles. @param {string} literal */
function isCode(literal) {
  const styles = readdirSync(new URL("styles/", WEB)).map((file) => readFileSync(new URL(`styles/${file}`, WEB), "utf8"));
  const words = literal.trim().split(" ");
  return REFUSALS.has(words[0] ?? "") || words.every((word) => styles.some((style) => style.includes(`.${word}`)));
}

/** The codes of the table in the client guide. */
const guide = readFileSync(new URL("../docs/client-guide.md", WEB), "utf8");
const REFUSALS = new Set([...guide.matchAll(/^\| `(\w+)` \| \d{3} \|/gm)].map(([, code]) => code));

for (const { name, code, texts } of catalogues) {
  const english = englishOf(name);
  test(`every text of ${name} is there in ${code}, and is a sentence for every value`, () => {
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
    test(`no text of ${name} is left in English in ${code}`, () => {
      const said = (/** @type {any} */ text) => (typeof text === "function" ? text(2, "Ada") : text);
      const left = [...texts].filter(([path, text]) => said(text) === said(english.get(path)) && !SAME.has(text));
      assert.deepEqual(left.map(([path]) => path).filter((path) => !SAME_ORDER.has(path)), []);
    });
}

test("every text is used, or its group as a whole", () => {
  const all = sources().map(({ source }) => source).join("\n");
  for (const name of Object.keys(LOADS)) {
    const isUsed = (/** @type {string} */ path) => new RegExp(`\\b${name}\\.${path}\\b`).test(all) || isGroupUsed(path.split(".")[0] ?? "");
    const isGroupUsed = (/** @type {string} */ group) => new RegExp(`\\b${name}\\.${group}\\b(?!\\.)`).test(all);
    assert.deepEqual([...englishOf(name).keys()].filter((path) => !isUsed(path)), []);
  }
});

test("no text is outside of the catalogues", () => {
  const texts = sources().flatMap(({ file, source }) =>
    literals(source).flatMap((literal) => (isText(literal) && !NOT_SHOWN.has(literal) && !isCode(literal) ? `${file}: ${literal}` : [])),
  );
  assert.deepEqual(texts, []);
});

test("the language is the chosen one, else the first of the browser's with a catalogue", async () => {
  globalThis.document = /** @type {any} */ ({ documentElement: {} });
  for (const [chosen, preferred, code, locale, dir] of /** @type {const} */ ([
    ["system", ["fr-FR", "ar-MA", "en-GB"], "ar", "ar-MA", "rtl"],
    ["de", ["en-GB", "de-AT"], "de", "de-AT", "ltr"],
    ["de", [], "de", "de", "ltr"],
    ["system", ["fr"], "en", "en", "ltr"],
  ])) {
    await language.useLanguage(chosen, preferred);
    assert.deepEqual({ ...document.documentElement, locale: language.locale }, { lang: code, dir, locale });
    assert.equal(language.texts, await LANGUAGES[code].load());
  }
});

test("a refusal is shown in the own language, by field, then by code, else in the server's words", () => {
  for (const [code] of Object.entries(en.refused)) assert.ok(REFUSALS.has(code), code);
  const message = "The current password is wrong.";
  assert.equal(refusalText({ code: "forbidden", field: "current_password", message: "No." }), message);
  assert.equal(refusalText({ code: "forbidden", message: "No." }), en.refused.forbidden);
  assert.equal(refusalText({ code: "forbidden", field: "send.recipient_id" }), en.refusedField.notAccepted);
  assert.equal(refusalText({ code: "internal", message: "The log has it as 7." }), "The log has it as 7.");
  assert.equal(refusalText({}), en.failed.unknown);
  const wait = (retry_after_ms) => refusalText({ code: "rate_limited", message: "No.", retry_after_ms });
  assert.deepEqual([0, 60_000].map(wait), [en.refused.rate_limited, en.refused.rate_limited]);
  assert.equal(wait(60_001), "Too many attempts. Try again in 2 minutes.");
  assert.equal(explain(new Problem(429, { code: "rate_limited", retry_after_ms: "4320000" })), "Too many attempts. Try again in 72 minutes.");
});

test("a page that works without scripts has its sentences in every language", () => {
  for (const page of ["index.html", "not-found.html", "admin/index.html"]) {
    const html = readFileSync(new URL(page, WEB), "utf8");
    for (const code of Object.keys(LANGUAGES).slice(1)) {
      const direction = code === "ar" ? ' dir="rtl"' : "";
      assert.match(html, new RegExp(`<p[^>]* lang="${code}"${direction}>`), `${page}: ${code}`);
    }
  }
});
