// Finds the names of mentioned users in a text. Pure functions.

/** @import {Mention} from "./wire.js" */

/**
 * Characters of words in scripts with spaces between words. Beside them, `@` and a name are part of a longer word, such
 * as an address.
 */
export const IN_WORD = /[\p{Lu}\p{Ll}\p{M}\p{N}]/u;
/** The words that mean all members of a group, in the languages of the page. A message has a flag whether they do. */
export const EVERYONE = Object.freeze(["everyone", "alle", "الجميع"]);
/** The words as mentions, which name no user. @type {readonly Mention[]} */
export const AT_EVERYONE = EVERYONE.map((name) => ({ user_id: "", name }));
/** The rest of a word; underscores alone are markup. */
const REST = new RegExp(`_*${IN_WORD.source}`, "uy");

export class Names {
  /** By the first character, longer names first. @type {Map<string, Mention[]>} */
  #all = new Map();

  /** @param {Iterable<Mention>} mentions the first one of a name counts */
  constructor(mentions) {
    for (const mention of mentions) {
      const start = mention.name?.[0] ?? "";
      const same = this.#all.get(start) ?? [];
      same.push(mention);
      if (start) this.#all.set(start, same);
    }
    for (const same of this.#all.values()) same.sort((one, other) => lengthOf(other) - lengthOf(one));
  }

  /** The mention whose name follows the `@` at an index: of several names the longest. @param {string} text @param {number} at */
  at(text, at) {
    if (IN_WORD.test(text[at - 1] ?? "")) return undefined;
    const candidates = this.#all.get(text[at + 1] ?? "") ?? [];
    return candidates.find(({ name = "" }) => text.startsWith(name, at + 1) && !isInWord(text, at + 1 + name.length));
  }
}

/** @param {Mention} mention */
const lengthOf = ({ name = "" }) => name.length;

/** Whether a word goes on at an index. @param {string} text @param {number} at */
function isInWord(text, at) {
  REST.lastIndex = at;
  return IN_WORD.test(text[at - 1] ?? "") && REST.test(text);
}
