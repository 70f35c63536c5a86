// How the composer interprets a person's text and keys. Pure functions.

import { displayName } from "./format.js";
import { mentionedIn, parse, withNames } from "./formatting.js";
import { AT_EVERYONE } from "./mentions.js";

/** @import {Profile} from "./types.js" */
/** @import {Mention, Text} from "./wire.js" */

/** The server's limits: the users whom a text mentions, and the bytes of a name. */
const MAX_MENTIONS = 50;
const MAX_NAME = 64;
const encoder = new TextEncoder();

/** A text waits this long for the members of its group, in milliseconds; after that it mentions no unknown one. */
export const MEMBERS_DEADLINE_MS = 2_000;

/** The markers around a selection, by the key that is pressed with Ctrl or Cmd. */
const MARKERS = /** @type {Record<string, string>} */ ({ b: "**", i: "*", "shift x": "~~" });

/**
 * The names after `@` that mean members: of each one the user name, then the display name if no other member has it.
 * @param {readonly Profile[]} members
 * @returns {Mention[]}
 */
export function mentionable(members) {
  const present = members.filter(({ deleted }) => !deleted);
  const uses = /** @type {Map<string, number>} */ (new Map());
  for (const member of present)
    for (const name of new Set([member.name, displayName(member)])) uses.set(name, (uses.get(name) ?? 0) + 1);
  return present.flatMap((member) => {
    const { user_id, name } = member;
    const shown = displayName(member);
    const isUsable = uses.get(shown) === 1 && bytesOf(shown) <= MAX_NAME;
    return [{ user_id, name }, ...(isUsable && shown !== name ? [{ user_id, name: shown }] : [])];
  });
}

/**
 * The text of a message whose body may mention members. A member who is written by several names, outside of code, gets
 * the shortest of them everywhere, since a mention has one name.
 * @param {string} body
 * @param {readonly Profile[]} members of the chat
 * @param {readonly Mention[]} [before] an edit: the names that meant members before, without the words for all members
 * @param {boolean} [mayMentionEveryone] whether the words for all members mean them
 * @returns {Text & {mentions: Mention[]}}
 */
export function textWith(body, members, before = [], mayMentionEveryone = false) {
  if (!body.includes("@")) return { body, mentions: [] };
  const former = before.filter(({ user_id }) => user_id);
  const names = [...former, ...mentionable(members), ...(mayMentionEveryone ? AT_EVERYONE : [])]; // the first of a name counts
  const found = /** @type {Map<string | undefined, Mention>} */ (new Map());
  for (const { mention } of mentionedIn(parse(body, names))) {
    const known = found.get(mention.user_id);
    if (!known || bytesOf(mention.name) < bytesOf(known.name)) found.set(mention.user_id, mention);
  }
  const mentions_everyone = found.delete("") || undefined;
  const nameOf = (/** @type {Mention} */ { user_id, name }) => found.get(user_id)?.name ?? name ?? "";
  const mentions = [...found.values()].slice(0, MAX_MENTIONS);
  return { body: withNames(body, names, nameOf), mentions, mentions_everyone };
}

const bytesOf = (name = "") => encoder.encode(name).length;

/** Whether a key sends the message. @param {Pick<KeyboardEvent, "key" | "shiftKey">} event */
export const sends = ({ key, shiftKey }) => key === "Enter" && !shiftKey;

/**
 * The marker that a key puts around the selection; empty for other keys.
 * @param {Pick<KeyboardEvent, "key" | "shiftKey" | "ctrlKey" | "metaKey" | "altKey">} event
 */
export function markerOf({ key, shiftKey, ctrlKey, metaKey, altKey }) {
  if (ctrlKey === metaKey || altKey) return "";
  return MARKERS[`${shiftKey ? "shift " : ""}${key.toLowerCase()}`] ?? "";
}

/**
 * Whether a text of another tab may replace the text of a field: no keystroke may be lost. Keystrokes are in the other
 * text too if it was written in place of this one.
 * @param {{text: string, isFocused: boolean, isOwn: boolean}} field isOwn: the person wrote in this tab
 * @param {import("./drafts.js").Change} change
 */
export const mayReplace = ({ text, isFocused, isOwn }, { before }) =>
  !text || (!isFocused && (!isOwn || text === before));
