// Generates the emoji of the page, web/emoji/data/, from packages of the npm registry with Unicode's data. Run it with
// `node tools/emoji/generate.js` after a change of the versions below, and commit the written files.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { withTone } from "../../web/emoji/tones.js";

/** Order, groups, versions and skin tones from Unicode's emoji-test.txt, and the shortcodes of GitHub. */
const EMOJIBASE = { name: "emojibase-data", version: "17.0.0" };
/** Names and keywords; the second package has the names of sequences, such as flags. */
const ANNOTATIONS = { name: "cldr-annotations-full", version: "48.2.0" };
const DERIVED = { name: "cldr-annotations-derived-full", version: "48.2.0" };
const EMOJI_VERSION = "17.0";
const LANGUAGES = ["en", "de", "ar"];
/** The group of emoji-test.txt with skin tones and hair: parts of an emoji, never an emoji alone. */
const COMPONENTS = 2;
/** The emoji version of 2018: every system with a browser that runs the page draws its emoji. */
const DRAWN_EVERYWHERE = 11;
const OUTPUT = new URL("../../web/emoji/data/", import.meta.url);

const folder = mkdtempSync(join(tmpdir(), "emoji-"));
try {
  generate();
} finally {
  rmSync(folder, { recursive: true });
}

function generate() {
  const read = unpack(EMOJIBASE);
  const codes = read("en/shortcodes/github.json");
  const all = read("en/data.json")
    .filter(({ group }) => group !== undefined && group !== COMPONENTS)
    .sort((one, other) => one.order - other.order);
  for (const each of all) {
    each.emoji = qualified(each.emoji);
    checkTones(each);
  }
  const groups = [...new Set(all.map(({ group }) => group))];
  const lines = groups.map((group) => all.filter((each) => each.group === group).map((each) => line(each, codes)));
  write("emoji.txt", `Emoji ${EMOJI_VERSION}`, lines.map((group) => group.join("\n")).join("\n\n"));

  const annotations = unpack(ANNOTATIONS);
  const derived = unpack(DERIVED);
  for (const language of LANGUAGES) {
    const known = {
      ...derived(`annotationsDerived/${language}/annotations.json`).annotationsDerived.annotations,
      ...annotations(`annotations/${language}/annotations.json`).annotations.annotations,
    };
    const names = all.map((each) => {
      const { tts, default: keywords = [] } = known[each.emoji.replaceAll("\ufe0f", "")] ?? known[each.emoji];
      return nameAndKeywords(tts[0], keywords, codesOf(each, codes));
    });
    write(`names-${language}.txt`, `CLDR ${ANNOTATIONS.version}`, names.join("\n"));
  }
  writeFileSync(new URL("LICENSE.txt", OUTPUT), licenses(annotations, read));
}

/** Downloads a package; returns a function that reads a file in it, as parsed JSON, or as text for another kind. */
function unpack({ name, version }) {
  const [{ filename }] = JSON.parse(
    execFileSync("npm", ["pack", "--json", `${name}@${version}`], { cwd: folder, stdio: ["ignore", "pipe", "ignore"] }),
  );
  mkdirSync(join(folder, name));
  execFileSync("tar", ["xzf", filename, "-C", name, "--strip-components=1"], { cwd: folder });
  return (path) => {
    const text = readFileSync(join(folder, name, path), "utf8");
    return path.endsWith(".json") ? JSON.parse(text) : text;
  };
}

/** The form that Unicode recommends: the package adds a selector to each character that may also be drawn as text. */
function qualified(emoji) {
  const form = emoji.replace(/(\p{Emoji_Presentation})\ufe0f/gu, "$1");
  if (!/^\p{RGI_Emoji}$/v.test(form)) throw new Error(`${emoji}: not in Unicode's list`);
  return form;
}

/** "👋|+|wave": the emoji, its version if it may be too new, `+` if it has skin tones, its shortcodes. */
function line(each, codes) {
  const { emoji, version, skins } = each;
  return `${emoji}|${version > DRAWN_EVERYWHERE ? version : ""}${skins ? "+" : ""}|${codesOf(each, codes).join(" ")}`;
}

/** The shortcodes, the usual one first. */
function codesOf({ hexcode, label }, codes) {
  return [codes[hexcode] ?? label.toLowerCase().replace(/[^a-z0-9]+/g, "_")].flat();
}

/** "waving hand|bye hello": the name, and further words by which a search finds the emoji. */
function nameAndKeywords(name, keywords, codes) {
  const more = [...new Set(keywords.flatMap(words))];
  const found = [name, ...codes].flatMap(words);
  const isNeeded = (word) =>
    !found.includes(word) && ![...found, ...more].some((other) => other !== word && other.startsWith(word));
  return [name, more.filter(isNeeded).join(" ")].filter(Boolean).join("|");
}

function words(text) {
  return text.toLowerCase().split(/[^\p{L}\p{N}\p{M}]+/u).filter(Boolean);
}

/** The page forms the skin tones of an emoji by a rule: compares its results with Unicode's list. */
function checkTones({ emoji, skins = [] }) {
  for (const { emoji: expected, tone } of skins.filter((skin) => typeof skin.tone === "number"))
    if (withTone(emoji, tone) !== qualified(expected)) throw new Error(`${emoji}: tone ${tone}`);
}

function licenses(annotations, emojibase) {
  return [
    `Emoji ${EMOJI_VERSION} and the names and keywords of CLDR ${ANNOTATIONS.version}:`,
    annotations("LICENSE"),
    `The compilation ${EMOJIBASE.name} ${EMOJIBASE.version}, with the shortcodes:`,
    emojibase("LICENSE"),
  ].join("\n\n");
}

/** The first line names the source. */
function write(name, source, lines) {
  writeFileSync(new URL(name, OUTPUT), `${source}; see LICENSE.txt\n${lines}\n`);
}
