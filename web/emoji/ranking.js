// Finds emoji by words, or beginnings of words.

/** @import {Emoji} from "./catalogue.js" */

/** The rank of a match, the best first. An emoji's rank is the sum over the words of the query. */
const RANK = { code: 0, codeBegins: 1, name: 2, nameBegins: 3, keyword: 4, keywordBegins: 5 };

/**
 * The words of an emoji, each between spaces.
 * @typedef {{emoji: Emoji, codes: string, name: string, keywords: string}} Words
 */

export class Ranking {
  /** @type {Words[]} */
  #all;

  /** @param {readonly Emoji[]} all in the order for equal ranks */
  constructor(all) {
    const lines = all.map(({ name, codes, keywords }) => `${name} ${codes.join(" ")}|${keywords}`);
    // All texts in one call: separate calls take ten times as long.
    const plainLines = plain(lines.join("\n")).split("\n");
    this.#all = all.map((emoji, at) => {
      const [name = "", keywords = ""] = (plainLines[at] ?? "").split("|");
      return { emoji, codes: ` ${emoji.codes.join(" ")} `, name: ` ${name} `, keywords: ` ${keywords} ` };
    });
  }

  /** The emoji that match each word of the query, the best first; none for an empty query. @param {string} query */
  search(query) {
    const code = query.trim().toLowerCase().replace(/\s+/g, "_");
    const words = plain(query).split(" ").filter(Boolean);
    if (words.length === 0) return [];
    return this.#all
      .map((one) => ({ emoji: one.emoji, rank: rankOf(one, code, words) }))
      .filter(({ rank }) => rank < Infinity)
      .sort((one, other) => one.rank - other.rank)
      .map(({ emoji }) => emoji);
  }
}

/** The text in lower case without accents and punctuation; `|` and line feeds stay. @param {string} text */
function plain(text) {
  const letters = text.toLowerCase().normalize("NFKD").replace(/\p{M}/gu, "");
  return letters.replace(/[^\p{L}\p{N}|\n]+/gu, " ");
}

/** @param {Words} emoji @param {string} code @param {readonly string[]} words */
function rankOf({ codes, name, keywords }, code, words) {
  if (codes.includes(` ${code} `)) return RANK.code;
  const at = codes.indexOf(` ${code}`);
  if (at >= 0) return RANK.codeBegins + (codes.indexOf(" ", at + 1) - at) / 100; // prefers short shortcodes
  let sum = 0;
  for (const word of words) {
    if (name.includes(` ${word} `)) sum += RANK.name;
    else if (name.includes(` ${word}`)) sum += RANK.nameBegins;
    else if (keywords.includes(` ${word} `)) sum += RANK.keyword;
    else if (keywords.includes(` ${word}`)) sum += RANK.keywordBegins;
    else return Infinity;
  }
  return sum;
}
