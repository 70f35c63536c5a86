// Ids of chats; and of messages and changes: snowflakes, which carry a time, as decimal digits. Pure functions.

/** 2026-01-01T00:00:00Z: the epoch of the time in an id. */
const EPOCH_MS = 1_767_225_600_000;

/** When the message or the change was accepted, in milliseconds since 1970. @param {string} id */
export const timeOfId = (id) => Number(BigInt(id) >> 22n) + EPOCH_MS;

/** The lowest id at or after a time; for a time before 2026, the lowest id. @param {number} at_ms */
export const firstIdAt = (at_ms) => String((BigInt(Math.max(at_ms - EPOCH_MS, 0)) << 22n) || 1n);

/** The id minus 1; the lowest id stays. @param {string} id */
export const idBelow = (id) => (id === "1" ? id : String(BigInt(id) - 1n));

/** The id plus 1. @param {string} id */
export const idAbove = (id) => String(BigInt(id) + 1n);

/** The highest id: the server refuses a request with a higher one. */
const HIGHEST = "9223372036854775807";

/**
 * Below 0, 0 or above 0 as the first id is lower, the same or higher. Ids are decimal digits.
 * @param {string} a
 * @param {string} b
 */
export function compareIds(a, b) {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

/** The higher of two ids. @param {string} a @param {string} b */
export const laterId = (a, b) => (compareIds(a, b) < 0 ? b : a);

/** Whether the server takes an id. @param {string} id decimal digits */
export const isInRange = (id) => compareIds(id, HIGHEST) <= 0;

/** Whether a chat is a group, by its id. @param {string} chat_id */
export const isGroup = (chat_id) => /^g-[1-9]\d{0,18}$/.test(chat_id);
