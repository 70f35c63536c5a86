// What the admin page says in numbers and words. Pure functions: the same input gives the same words.

/** @import {Actor, AuditEntry, Partition, Process, Value} from "./types.js" */

/** A process that was not heard for so long is marked: it says how it is every 5 seconds. */
export const LOST_MS = 10_000;
/** For so long it is remembered, after the server has left it out. */
const REMEMBERED_MS = 600_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const grouped = new Intl.NumberFormat();
const dateAndTime = new Intl.DateTimeFormat(undefined, {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});

/** @param {number} count */
export const number = (count) => grouped.format(count);

/** Day and time to the second, as logs are compared by. @param {number} at_ms */
export const stamp = (at_ms) => dateAndTime.format(at_ms);

/** How long a time is, in its largest unit. @param {number} ms */
export function span(ms) {
  if (ms < MINUTE_MS) return `${Math.max(0, Math.floor(ms / 1000))} s`;
  if (ms < HOUR_MS) return `${Math.floor(ms / MINUTE_MS)} min`;
  if (ms < 2 * DAY_MS) return `${Math.floor(ms / HOUR_MS)} h`;
  return `${Math.floor(ms / DAY_MS)} days`;
}

/** @param {number} at_ms @param {number} now_ms */
export const ago = (at_ms, now_ms) => `${span(now_ms - at_ms)} ago`;

/** @param {Process} process @param {number} now_ms */
export const isLost = (process, now_ms) => now_ms - process.seen_at_ms > LOST_MS;

/** What tells a process from all others. @param {Process} process */
export const keyOf = ({ role, instance }) => `${role} ${instance}`;

/**
 * The processes of an answer, and after them those that fell silent: the server leaves them out after a while, but one
 * that was already lost when it was last seen did not stop in order, and someone should know.
 * @param {readonly Process[]} before what was shown until now,
 * @param {number} before_ms and when
 * @param {readonly Process[]} processes
 * @param {number} now_ms
 */
export function withLost(before, before_ms, processes, now_ms) {
  const there = new Set(processes.map(keyOf));
  const silent = before.filter(
    (process) =>
      !there.has(keyOf(process)) && isLost(process, before_ms) && now_ms - process.seen_at_ms < REMEMBERED_MS,
  );
  return [...processes, ...silent];
}

/** @param {Process} process */
export const sessionsOf = ({ sessions }) => (sessions ? sessions.websocket + sessions.grpc : 0);

/**
 * @typedef {{sum: number, worst: number, partition: string}} Lag in records, and the partition that is furthest behind
 */

/** @param {Process} process @returns {Lag | null} null if its role has none */
export function lagOf({ lag }) {
  if (!lag) return null;
  const all = { sum: 0, worst: 0, partition: "" };
  for (const [partition, records] of Object.entries(lag)) {
    all.sum += records;
    if (records > all.worst) [all.worst, all.partition] = [records, partition];
  }
  return all;
}

/**
 * The whole platform at a glance. What was not heard for a while counts as a process, but not what it said.
 * @param {readonly Process[]} processes
 * @param {readonly Partition[]} partitions
 * @param {number} now_ms
 */
export function totalsOf(processes, partitions, now_ms) {
  const heard = processes.filter((process) => !isLost(process, now_ms));
  const worst = { sum: 0, worst: 0, partition: "", instance: "" };
  for (const process of heard) {
    const lag = lagOf(process);
    worst.sum += lag?.sum ?? 0;
    if (lag && lag.worst > worst.worst)
      Object.assign(worst, { worst: lag.worst, partition: lag.partition, instance: process.instance });
  }
  const sum = (/** @type {(process: Process) => number} */ of) => heard.reduce((all, process) => all + of(process), 0);
  return {
    websocket: sum(({ sessions }) => sessions?.websocket ?? 0),
    grpc: sum(({ sessions }) => sessions?.grpc ?? 0),
    processes: processes.length,
    lost: processes.length - heard.length,
    unready: heard.filter(({ ready }) => !ready).length,
    partitions: partitions.length,
    unowned: partitions.filter(({ owner }) => owner === null).length,
    lag: worst,
  };
}

/**
 * Who owns which partitions; those of nobody first.
 * @param {readonly Partition[]} partitions
 * @returns {{owner: string | null, partitions: number[]}[]}
 */
export function byOwner(partitions) {
  /** @type {Map<string | null, number[]>} */
  const owners = new Map();
  for (const { partition, owner } of partitions) owners.set(owner, [...(owners.get(owner) ?? []), partition]);
  const name = (/** @type {string | null} */ owner) => owner ?? "";
  return [...owners]
    .map(([owner, owned]) => ({ owner, partitions: owned.sort((one, other) => one - other) }))
    .sort((one, other) => name(one.owner).localeCompare(name(other.owner), undefined, { numeric: true }));
}

/** @param {Value | null} value null for the default */
export const valueText = (value) => (value === null ? "default" : value === "" ? "empty" : String(value));

/**
 * What was typed, as the kind of value that the key has. What is no number is sent as it is: the server says why not.
 * @param {string} text
 * @param {Value} like
 * @returns {Value}
 */
export function typed(text, like) {
  const trimmed = text.trim();
  const value = Number(trimmed);
  return typeof like === "number" && trimmed !== "" && Number.isFinite(value) ? value : trimmed;
}

/** As the history of the configuration says it too: `ada (123)`, or `command:root`. @param {Actor} actor */
export const actorName = (actor) =>
  "command" in actor ? `command:${actor.command}` : `${actor.name} (${actor.user_id})`;

/** `suspend_user` as words. @param {string} act */
export const actName = (act) => act.charAt(0).toUpperCase() + act.slice(1).replaceAll("_", " ");

/** Whether each word of a text is in the entry, as it is shown. @param {AuditEntry} entry @param {string} text */
export function mentions({ at_ms, actor, act, target, detail, address }, text) {
  const shown = [stamp(at_ms), actorName(actor), actName(act), target, detail, address].join(" ").toLowerCase();
  return text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => shown.includes(word));
}

/** @typedef {{section: string, id: string, part: string}} Place */

/**
 * What the address says is open: `#users/17?part=ada` is a user, found by a part of a name.
 * @param {string} hash
 * @returns {Place}
 */
export function placeOf(hash) {
  const [path = "", query = ""] = hash.slice(1).split("?", 2);
  const [section = "", id = ""] = path.split("/", 2);
  return { section, id: decoded(id), part: new URLSearchParams(query).get("part") ?? "" };
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

/** The address of a user or of a search for one. @param {string} id empty for none @param {string} part */
export function usersAddress(id, part) {
  const path = id ? `#users/${encodeURIComponent(id)}` : "#users";
  return part ? `${path}?${new URLSearchParams({ part })}` : path;
}
