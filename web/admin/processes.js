// The processes: their state and load, and the owners of the partitions.

import { emptyState } from "../components/empty.js";
import { fullTime } from "../format.js";
import { h } from "../view.js";
import { list, number, texts } from "./languages/language.js";
import { card, Section } from "./section.js";
import { ago, byOwner, isLost, keyOf, lagOf, sessionsOf, totalsOf, withLost } from "./summaries.js";
import { label, table } from "./table.js";

/** @import {Column} from "./table.js" */
/** @import {Partition, Process} from "./types.js" */

/** The roles in the order in which they are shown; any other role comes after them. */
const ROLES = /** @type {const} */ (["gateway", "archive", "bff"]);

export class Processes extends Section {
  /** @type {readonly Process[]} */
  #processes = [];
  /** @type {readonly Partition[]} */
  #partitions = [];
  #now_ms = 0;

  /** @override */
  async load() {
    const { processes, partitions, now_ms } = await this.frame.api.processes();
    this.#processes = withLost(this.#processes, this.#now_ms, processes, now_ms);
    this.#partitions = partitions;
    this.#now_ms = now_ms;
  }

  /** @override */
  content() {
    const [processes, partitions, now_ms] = [this.#processes, this.#partitions, this.#now_ms];
    const known = ROLES.map((role) => ({ role, ...texts.roles[role] }));
    const names = new Set(processes.map(({ role }) => role));
    for (const role of ROLES) names.delete(role);
    const roles = [...known, ...[...names].map((role) => ({ role, title: role, text: "" }))];
    return [
      h("dl", { class: "tiles" }, tiles(processes, partitions, now_ms)),
      h("div", { class: "stack" }, roles.map((role) => roleCard(role, processes, now_ms))),
      partitions.length > 0 && owners(processes, partitions),
    ];
  }
}

/** @param {readonly Process[]} processes @param {readonly Partition[]} partitions @param {number} now_ms */
function tiles(processes, partitions, now_ms) {
  const totals = totalsOf(processes, partitions, now_ms);
  const { lag, lost, unready, unowned } = totals;
  const ill = [];
  if (lost) ill.push(texts.processes.lostCount(lost));
  if (unready) ill.push(texts.processes.unreadyCount(unready));
  const transports = texts.processes.transports(totals.websocket, totals.grpc);
  const owned = unowned ? texts.processes.unowned(unowned) : texts.processes.allOwned;
  const worst = lag.worst ? texts.processes.worstOf(lag.worst, lag.partition, lag.instance) : texts.processes.noLag;
  return [
    tile(texts.processes.sessions, totals.websocket + totals.grpc, transports),
    tile(texts.processes.processes, totals.processes, list(ill) || texts.processes.allReady, ill.length > 0),
    tile(texts.processes.partitions, totals.partitions, owned, unowned > 0),
    tile(texts.processes.lag, lag.sum, worst),
  ];
}

/** @param {string} name @param {number} value @param {string} text */
function tile(name, value, text, isWarning = false) {
  const figure = h("dd", { class: "figure" }, number(value));
  const words = h("dd", { class: "words" }, text);
  return h("div", { class: isWarning ? "tile warn" : "tile", key: name }, h("dt", {}, name), figure, words);
}

/**
 * The processes of one role.
 * @param {{role: string, title: string, text: string}} role
 * @param {readonly Process[]} processes of all roles
 * @param {number} now_ms
 */
function roleCard({ role, title, text }, processes, now_ms) {
  const its = processes
    .filter((process) => process.role === role)
    .sort((one, other) => one.instance.localeCompare(other.instance, undefined, { numeric: true }));
  const content = its.length
    ? table(title, columnsOf(role, now_ms), its, ({ instance }) => instance)
    : emptyState(texts.processes.noReports, texts.processes.noReportsNote);
  const heading = [title, " ", h("span", { class: "soft" }, number(its.length))];
  return h("div", { key: role }, card(heading, text, content));
}

/** @param {string} role @param {number} now_ms @returns {Column<Process>[]} */
function columnsOf(role, now_ms) {
  /** @type {Column<Process>[]} */
  const columns = [
    { label: texts.processes.instance, show: ({ instance }) => instance, kind: "name code" },
    { label: texts.processes.state, show: (process) => state(process, now_ms) },
    { label: texts.processes.version, show: ({ version }) => version },
    { label: texts.processes.started, show: ({ started_at_ms }) => time(started_at_ms, now_ms) },
    { label: texts.processes.lastReport, show: ({ seen_at_ms }) => time(seen_at_ms, now_ms) },
  ];
  if (role === "gateway")
    columns.push(
      { label: texts.processes.sessions, show: sessions, kind: "number" },
      { label: texts.processes.partitions, show: ({ owned }) => (owned ? number(owned.length) : "–"), kind: "number" },
    );
  if (role !== "bff") columns.push({ label: texts.processes.behind, show: behind, kind: "number" });
  return columns;
}

/** @param {Process} process @param {number} now_ms */
function state(process, now_ms) {
  if (isLost(process, now_ms)) return label("danger", texts.processes.lost);
  return process.ready ? label("good", texts.processes.ready) : label("warn", texts.processes.unready);
}

/** @param {number} at_ms @param {number} now_ms */
const time = (at_ms, now_ms) => h("span", { title: fullTime(at_ms) }, ago(at_ms, now_ms));

/** @param {Process} process */
function sessions(process) {
  const { sessions: counts } = process;
  if (!counts) return "–";
  const transports = texts.processes.transports(counts.websocket, counts.grpc);
  return [number(sessionsOf(process)), h("small", {}, transports)];
}

/** @param {Process} process */
function behind(process) {
  const lag = lagOf(process);
  if (!lag) return "–";
  return [number(lag.sum), lag.worst > 0 && h("small", {}, texts.processes.worst(lag.worst, lag.partition))];
}

/** The partitions by their owners. @param {readonly Process[]} processes @param {readonly Partition[]} partitions */
function owners(processes, partitions) {
  const lags = new Map(processes.map((process) => [keyOf(process), process.lag]));
  const rows = byOwner(partitions).map(({ owner, partitions: owned }) =>
    ownerRow(owner, owned, lags.get(`gateway ${owner}`) ?? {}),
  );
  const groups = h("div", { class: "owners", role: "list" }, rows);
  return card(texts.processes.partitions, texts.processes.partitionsNote, groups);
}

/** @param {string | null} owner @param {readonly number[]} owned @param {Record<string, number>} lag in records */
function ownerRow(owner, owned, lag) {
  const name = owner === null ? label("warn", texts.processes.noOwner) : h("span", { class: "code" }, owner);
  const look = owner === null ? "chip warn" : "chip";
  const chip = (/** @type {number} */ partition) => {
    const records = lag[partition] ?? 0;
    return h("li", { class: look }, partition, records > 0 && h("small", {}, texts.processes.behindBy(records)));
  };
  return h("div", { class: "owner", role: "listitem" }, name, h("ul", { class: "chips" }, owned.map(chip)));
}
