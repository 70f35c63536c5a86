// Formats times, names and texts. Pure functions.

import { locale, texts } from "./languages/language.js";

const DAY_MS = 24 * 60 * 60 * 1000;

/** The hour format of all times. @type {Intl.DateTimeFormatOptions} */
let hours = {};
/** @type {Record<string, () => Intl.DateTimeFormatOptions>} */
const OPTIONS = {
  weekday: () => ({ weekday: "short" }),
  longWeekday: () => ({ weekday: "long" }),
  dayAndMonth: () => ({ day: "numeric", month: "short" }),
  fullDate: () => ({ day: "numeric", month: "short", year: "numeric" }),
  clock: () => ({ timeStyle: "short", ...hours }),
  fullTime: () => ({ dateStyle: "full", timeStyle: "short", ...hours }),
  exactTime: () => ({ dateStyle: "full", timeStyle: "medium", ...hours }),
};
/** Each format is made at its first use, because the language is chosen after this module is loaded. */
const formats = /** @type {Map<string, Intl.DateTimeFormat>} */ (new Map());

/** @param {string} name of the format @param {number} at_ms */
function formatted(name, at_ms) {
  let format = formats.get(name);
  if (!format) formats.set(name, (format = new Intl.DateTimeFormat(locale, OPTIONS[name]?.())));
  return format.format(at_ms);
}

/** How many different avatar colours `tokens.css` names. */
export const AVATAR_COLOURS = 8;

/** Sets the format of all times from now on. @param {string} format "system", "12" or "24" hours */
export function setTimeFormat(format) {
  hours = format === "system" ? {} : { hourCycle: format === "12" ? "h12" : "h23" };
  formats.clear();
}

/** The time zone of the formats, as its offset in minutes. */
let offset = new Date().getTimezoneOffset();

/** Whether the time zone has changed since the last call, as on a journey: from now on times are formatted in the new one. */
export function hasMoved() {
  const before = offset;
  offset = new Date().getTimezoneOffset();
  if (offset !== before) formats.clear();
  return offset !== before;
}

/** The time of day, such as 14:32. @param {number} at_ms */
export const timeOfDay = (at_ms) => formatted("clock", at_ms);

/** Day and time in full, for tooltips and screen readers. @param {number} at_ms */
export const fullTime = (at_ms) => formatted("fullTime", at_ms);

/** Day and time to the second. @param {number} at_ms */
export const exactTime = (at_ms) => formatted("exactTime", at_ms);

/** The midnight before a moment, in milliseconds since 1970. @param {number} at_ms */
export function startOfDay(at_ms) {
  return new Date(at_ms).setHours(0, 0, 0, 0);
}

/** Whole days from one moment's day to another's; 0 on the same day. @param {number} from_ms @param {number} to_ms */
export function daysBetween(from_ms, to_ms) {
  return Math.round((startOfDay(to_ms) - startOfDay(from_ms)) / DAY_MS);
}

/**
 * The short form for lists: a time today, a weekday this week, else a date.
 * @param {number} at_ms
 * @param {number} now_ms
 */
export function shortTime(at_ms, now_ms) {
  const days = daysBetween(at_ms, now_ms);
  if (days <= 0) return formatted("clock", at_ms);
  if (days < 7) return formatted("weekday", at_ms);
  return sameYear(at_ms, now_ms) ? formatted("dayAndMonth", at_ms) : formatted("fullDate", at_ms);
}

/** The heading above the messages of a day. @param {number} at_ms @param {number} now_ms */
export function dayLabel(at_ms, now_ms) {
  const days = daysBetween(at_ms, now_ms);
  if (days <= 0) return texts.day.today;
  if (days === 1) return texts.day.yesterday;
  if (days < 7) return formatted("longWeekday", at_ms);
  return sameYear(at_ms, now_ms) ? formatted("dayAndMonth", at_ms) : formatted("fullDate", at_ms);
}

/** @param {number} one_ms @param {number} other_ms */
function sameYear(one_ms, other_ms) {
  return new Date(one_ms).getFullYear() === new Date(other_ms).getFullYear();
}

/** The first letter of each word. A word goes on behind its marks, such as the vowel signs of Devanagari. */
const FIRST_LETTERS = /(?<![\p{L}\p{M}\p{N}])[\p{L}\p{N}]/gu;

/** One or two letters for an avatar: of the first and the last word. @param {string} name */
export function initials(name) {
  const [first = "?", ...others] = name.normalize("NFC").match(FIRST_LETTERS) ?? [];
  return (first + (others.at(-1) ?? "")).toUpperCase();
}

/** The number of a user's avatar colour, from 1: always the same for the same user. @param {string} user_id */
export function avatarColour(user_id) {
  let hash = 0x811c9dc5; // FNV-1a, with its high bits folded in: ids have low bits in common
  for (const digit of user_id) hash = Math.imul(hash ^ digit.charCodeAt(0), 0x01000193);
  return (((hash ^ (hash >>> 15)) >>> 0) % AVATAR_COLOURS) + 1;
}

/** Characters that change the direction of the text around them: in a name or a link they can imitate another one. */
const DIRECTION_CONTROLS = /[\u202a-\u202e\u2066-\u2069]/gu;

/** @param {string} text */
export const withoutDirectionControls = (text) => text.replace(DIRECTION_CONTROLS, "");

/** The name to show for a user. @param {{display_name: string, name: string, deleted?: boolean}} profile */
export const displayName = (profile) =>
  profile.deleted
    ? texts.deletedAccount
    : withoutDirectionControls(profile.display_name).trim() || profile.name;

/** The user name as it is shown below the name; empty for a deleted account. @param {{name: string}} profile */
export const userName = ({ name }) => (name ? `@${name}` : "");

/** An unread count as shown; the server counts to 100 at most. @param {number} count */
export const unreadLabel = (count) => (count > 99 ? texts.moreThan(99) : new Intl.NumberFormat(locale).format(count));

/** "Ada, Grace and Mira". @param {string[]} names */
export const nameList = (names) => new Intl.ListFormat(locale, { type: "conjunction" }).format(names);

/** Whether a text is one to three emoji and nothing else, which are shown large. @param {string} text */
export function isOnlyEmoji(text) {
  return /^(?:\p{RGI_Emoji}\s?){1,3}$/v.test(text);
}
