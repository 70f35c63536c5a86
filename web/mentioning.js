// Finds the members of a chat that a person may be about to mention. Pure functions.

import { displayName } from "./format.js";
import { IN_WORD } from "./mentions.js";
import { mentionable } from "./writing.js";

/** @import {Profile} from "./types.js" */

/** The most members that are found. */
export const MAX_FOUND = 8;
/** Characters that are read back to `@`: no name is longer. */
const MAX_TYPED = 64;

const OPEN = new RegExp(`(?<!${IN_WORD.source})@((?!\\s)[^@\\n]{0,${MAX_TYPED}})$`, "u");

/**
 * The `@` at the end of a text, with the typed beginning of a name, which may have spaces; null if there is none.
 * @param {string} text before the caret
 * @returns {{start: number, typed: string} | null}
 */
export function mentionAtEnd(text) {
  const match = OPEN.exec(text.slice(-MAX_TYPED - 2));
  return match && { start: text.length - match[0].length, typed: match[1] ?? "" };
}

/**
 * The members whose name, one of its words, or user name begins with a text, in this order, and the name to write for
 * each. None if the text is already the whole name of the only one.
 * @param {readonly Profile[]} members
 * @param {string} typed
 * @returns {{member: Profile, name: string}[]}
 */
export function matching(members, typed) {
  const words = plain(typed);
  const present = members.filter(({ deleted }) => !deleted);
  const ranked = present.map((member) => ({ member, rank: rankOf(member, words) })).filter(({ rank }) => rank < Infinity);
  const found = ranked.sort((one, other) => one.rank - other.rank).slice(0, MAX_FOUND);
  if (found.length === 0) return [];
  const names = mentionable(members);
  const isWritten = names.some(({ name }) => name === typed || (name && `${name} ` === typed));
  if (isWritten && found.length === 1) return [];
  const nameOf = (/** @type {Profile} */ { user_id }) => names.findLast((mention) => mention.user_id === user_id)?.name;
  return found.map(({ member }) => ({ member, name: nameOf(member) ?? member.name }));
}

/**
 * Whether a word for all members begins with a text, and goes on after it.
 * @param {string} word
 * @param {string} typed
 */
export const begins = (word, typed) => word !== typed && plain(word).startsWith(plain(typed));

/** @param {Profile} member @param {string} words */
function rankOf(member, words) {
  const name = plain(displayName(member));
  if (name.startsWith(words)) return 0;
  if (name.includes(` ${words}`)) return 1;
  return member.name.startsWith(words) ? 2 : Infinity;
}

/** The text in lower case without accents. @param {string} text */
const plain = (text) => text.toLowerCase().normalize("NFKD").replace(/\p{M}/gu, "");
