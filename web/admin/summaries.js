// Formats and summarises the data of the admin page. Pure functions.

import { locale } from "../languages/language.js";
import { texts } from "./languages/language.js";

/** @import {Actor, AuditEntry, Partition, Process, ReportedMessage, Value} from "./types.js" */

/** A process whose last report is older than this is marked as lost; it reports every 5 seconds. */
export const LOST_MS = 10_000;
/** How long a lost process stays on the page after the server has dropped it. */
const REMEMBERED_MS = 600_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** Made at its first use, when the language is known. @type {Intl.DateTimeFormat | undefined} */
let dateAndTime;
/** Made at its first use, too. @type {Intl.RelativeTimeFormat | undefined} */
let relative;

/** Day and time to the second, to compare with logs. Some, such as the end of an invite, are in another year. @param {number} at_ms */
export function stamp(at_ms) {
  dateAndTime ??= new Intl.DateTimeFormat(locale, {
    day: "numeric",
    month: "short",
    year: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  });
  return dateAndTime.format(at_ms);
}

/** How long ago, in its largest unit, such as "3 min. ago". @param {number} at_ms @param {number} now_ms */
export function ago(at_ms, now_ms) {
  const ms = Math.max(0, now_ms - at_ms);
  relative ??= new Intl.RelativeTimeFormat(locale, { style: "short" });
  if (ms < MINUTE_MS) return relative.format(-Math.floor(ms / 1000), "second");
  if (ms < HOUR_MS) return relative.format(-Math.floor(ms / MINUTE_MS), "minute");
  if (ms < 2 * DAY_MS) return relative.format(-Math.floor(ms / HOUR_MS), "hour");
  return relative.format(-Math.floor(ms / DAY_MS), "day");
}

/** @param {Process} process @param {number} now_ms */
export const isLost = (process, now_ms) => now_ms - process.seen_at_ms > LOST_MS;

/** The unique key of a process. @param {Process} process */
export const keyOf = ({ role, instance }) => `${role} ${instance}`;

/**
 * The processes of a response, and after them the lost ones that the server has dropped since: a process that was
 * already lost when it was last shown did not stop in order, so it stays visible for a while.
 * @param {readonly Process[]} before the processes shown until now
 * @param {number} before_ms the time at which they were shown
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
 * The totals of the whole platform. A lost process is counted, but its last report is not.
 * @param {readonly Process[]} processes
 * @param {readonly Partition[]} partitions
 * @param {number} now_ms
 */
export function totalsOf(processes, partitions, now_ms) {
  const reporting = processes.filter((process) => !isLost(process, now_ms));
  const worst = { sum: 0, worst: 0, partition: "", instance: "" };
  for (const process of reporting) {
    const lag = lagOf(process);
    worst.sum += lag?.sum ?? 0;
    if (lag && lag.worst > worst.worst)
      Object.assign(worst, { worst: lag.worst, partition: lag.partition, instance: process.instance });
  }
  const sum = (/** @type {(process: Process) => number} */ of) => reporting.reduce((all, process) => all + of(process), 0);
  return {
    websocket: sum(({ sessions }) => sessions?.websocket ?? 0),
    grpc: sum(({ sessions }) => sessions?.grpc ?? 0),
    processes: processes.length,
    lost: processes.length - reporting.length,
    unready: reporting.filter(({ ready }) => !ready).length,
    partitions: partitions.length,
    unowned: partitions.filter(({ owner }) => owner === null).length,
    lag: worst,
  };
}

/**
 * Groups the partitions by owner; partitions without an owner first.
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
export function valueText(value) {
  if (value === null) return texts.configuration.default;
  return value === "" ? texts.configuration.empty : String(value);
}

/**
 * Parses a typed text into the type of the key's value. A text that is no number is sent as it is, for the server to
 * refuse with a reason.
 * @param {string} text
 * @param {Value} like
 * @returns {Value}
 */
export function parseValue(text, like) {
  const trimmed = text.trim();
  const value = Number(trimmed);
  return typeof like === "number" && trimmed !== "" && Number.isFinite(value) ? value : trimmed;
}

/** In the form of the configuration's history: `ada (123)`, or `command:root`. @param {Actor} actor */
export const actorName = (actor) =>
  "command" in actor ? `command:${actor.command}` : `${actor.name} (${actor.user_id})`;

/** The name of an act such as `suspend_user`; the code itself if this version does not know it. @param {string} act */
export const actName = (act) => /** @type {Record<string, string>} */ (texts.acts)[act] ?? act;

/** Whether the entry, as it is shown, contains every word of the text. @param {AuditEntry} entry @param {string} text */
export function matches({ at_ms, actor, act, target, detail, address }, text) {
  const shown = [stamp(at_ms), actorName(actor), actName(act), target, detail, address].join(" ").toLowerCase();
  return text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => shown.includes(word));
}

/** The text of a reported message, as it was edited last; empty if it had none. @param {ReportedMessage} reported */
export function bodyOf({ message, changes = [] }) {
  const edit = changes.findLast(({ change }) => change?.edited);
  return (edit?.change?.edited?.text ?? message.text)?.body ?? "";
}

/** @typedef {{section: string, id: string, part: string}} Place */

/**
 * Parses the fragment of the address: `#users/17?part=ada` is a user, found by a part of a name.
 * @param {string} hash
 * @returns {Place}
 */
export function parseAddress(hash) {
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
