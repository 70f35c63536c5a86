// The processes: their state and load, and the owners of the partitions.

import { h, reconcile, setText } from "../dom.js";
import { emptyState } from "../components/empty.js";
import { fullTime } from "../format.js";
import { ago, byOwner, isLost, keyOf, lagOf, number, sessionsOf, totalsOf, withLost } from "./figures.js";
import { card, Section } from "./section.js";
import { label, showOnce, Table } from "./table.js";

/** @import {Column} from "./table.js" */
/** @import {Partition, Process, Processes as ProcessesResponse} from "./types.js" */

/** The roles in the order in which they are shown; any other role comes after them. */
const ROLES = [
  { role: "gateway", title: "Gateways", text: "Hold the sessions and own the partitions." },
  { role: "archive", title: "Archives", text: "Write history and answer queries." },
  { role: "bff", title: "BFFs", text: "Serve the HTTP API and this page." },
];

export class Processes extends Section {
  #tiles = h("dl", { class: "tiles" });
  #roles = h("div", { class: "stack" });
  #owners = h("div", { class: "owners", role: "list" });
  #partitions = card("Partitions", "The owner and the lag of each partition.", this.#owners);
  /** @type {Process[]} */
  #processes = [];
  #now_ms = 0;

  /** @override */
  connected() {
    super.connected();
    this.content.replaceChildren(this.#tiles, this.#roles, this.#partitions);
  }

  /** @override */
  async load() {
    this.#show(await this.frame.api.processes());
  }

  /** @param {ProcessesResponse} response */
  #show({ processes, partitions, now_ms }) {
    processes = this.#processes = withLost(this.#processes, this.#now_ms, processes, now_ms);
    this.#now_ms = now_ms;
    this.#showTiles(processes, partitions);
    const known = ROLES.map(({ role }) => role);
    const others = [...new Set(processes.map(({ role }) => role))].filter((role) => !known.includes(role));
    const roles = [...ROLES, ...others.map((role) => ({ role, title: role, text: "" }))];
    reconcile(this.#roles, roles, {
      key: ({ role }) => role,
      make: (role) => new RoleCard(role),
      update: (element, { role }) =>
        element.show(
          processes.filter((process) => process.role === role),
          this.#now_ms,
        ),
    });
    this.#showOwners(processes, partitions);
  }

  /** @param {readonly Process[]} processes @param {readonly Partition[]} partitions */
  #showTiles(processes, partitions) {
    const totals = totalsOf(processes, partitions, this.#now_ms);
    const { lag, lost, unready, unowned } = totals;
    const ill = [lost && `${lost} not reporting`, unready && `${unready} not ready`].filter(Boolean).join(", ");
    const tiles = [
      {
        name: "Sessions",
        value: totals.websocket + totals.grpc,
        text: `${number(totals.websocket)} WebSocket, ${number(totals.grpc)} gRPC`,
      },
      { name: "Processes", value: totals.processes, text: ill || "all ready", warn: ill !== "" },
      {
        name: "Partitions",
        value: totals.partitions,
        text: unowned ? `${number(unowned)} without an owner` : "all owned",
        warn: unowned > 0,
      },
      {
        name: "Lag in records",
        value: lag.sum,
        text: lag.worst
          ? `worst: ${number(lag.worst)}, partition ${lag.partition} of ${lag.instance}`
          : "no backlog",
      },
    ];
    showOnce(this.#tiles, tiles, () => tiles.map(tile));
  }

  /** @param {readonly Process[]} processes @param {readonly Partition[]} partitions */
  #showOwners(processes, partitions) {
    this.#partitions.hidden = partitions.length === 0;
    const lags = new Map(processes.map((process) => [keyOf(process), process.lag]));
    const owners = byOwner(partitions).map(({ owner, partitions: owned }) => {
      const lag = lags.get(`gateway ${owner}`) ?? {};
      return { owner, chips: owned.map((partition) => ({ partition, behind: lag[partition] ?? 0 })) };
    });
    showOnce(this.#owners, owners, () => owners.map(ownerRow));
  }
}

/** The processes of one role. */
class RoleCard extends HTMLElement {
  #table;
  #count = h("span", { class: "soft" });
  #empty;

  /** @param {{role: string, title: string, text: string}} role */
  constructor({ role, title, text }) {
    super();
    this.#table = new Table(
      title,
      columnsOf(role, () => this.now_ms),
      ({ instance }) => instance,
    );
    this.#empty = emptyState("No reports yet", "Processes report every few seconds.");
    const panel = card(title, text, this.#table.element, this.#empty);
    panel.querySelector("h2")?.append(" ", this.#count);
    this.append(panel);
  }

  /** @param {Process[]} processes @param {number} now_ms */
  show(processes, now_ms) {
    this.now_ms = now_ms;
    setText(this.#count, number(processes.length));
    this.#table.element.hidden = processes.length === 0;
    this.#empty.hidden = processes.length > 0;
    const sorted = processes.toSorted((one, other) =>
      one.instance.localeCompare(other.instance, undefined, { numeric: true }),
    );
    this.#table.show(sorted);
  }

  now_ms = 0;
}

/** @param {string} role @param {() => number} now @returns {Column<Process>[]} */
function columnsOf(role, now) {
  /** @type {Column<Process>[]} */
  const columns = [
    { label: "Instance", text: ({ instance }) => instance, kind: "name code" },
    { label: "State", show: (cell, process) => showState(cell, process, now()) },
    { label: "Version", text: ({ version }) => version },
    {
      label: "Started",
      show: (cell, { started_at_ms }) => showTime(cell, started_at_ms, ago(started_at_ms, now())),
    },
    {
      label: "Last report",
      show: (cell, { seen_at_ms }) => showTime(cell, seen_at_ms, ago(seen_at_ms, now())),
    },
  ];
  if (role === "gateway")
    columns.push(
      { label: "Sessions", show: showSessions, kind: "number" },
      { label: "Partitions", text: ({ owned }) => (owned ? number(owned.length) : "–"), kind: "number" },
    );
  if (role !== "bff") columns.push({ label: "Behind", show: showLag, kind: "number" });
  return columns;
}

/** @param {HTMLElement} cell @param {Process} process @param {number} now_ms */
function showState(cell, process, now_ms) {
  const lost = isLost(process, now_ms);
  showOnce(cell, [lost, process.ready], () => {
    if (lost) return [label("danger", "Not reporting")];
    return [process.ready ? label("good", "Ready") : label("warn", "Not ready")];
  });
}

/** @param {HTMLElement} cell @param {number} at_ms @param {string} text */
function showTime(cell, at_ms, text) {
  setText(cell, text);
  cell.title = fullTime(at_ms);
}

/** @param {HTMLElement} cell @param {Process} process */
function showSessions(cell, process) {
  const { sessions } = process;
  showOnce(cell, sessions, () => {
    if (!sessions) return ["–"];
    const parts = `${number(sessions.websocket)} WebSocket, ${number(sessions.grpc)} gRPC`;
    return [number(sessionsOf(process)), h("small", {}, parts)];
  });
}

/** @param {HTMLElement} cell @param {Process} process */
function showLag(cell, process) {
  const lag = lagOf(process);
  showOnce(cell, lag, () => {
    if (!lag) return ["–"];
    const worst = `worst: ${number(lag.worst)}, partition ${lag.partition}`;
    return lag.worst ? [number(lag.sum), h("small", {}, worst)] : [number(lag.sum)];
  });
}

/** @param {{name: string, value: number, text: string, warn?: boolean}} tile */
function tile({ name, value, text, warn = false }) {
  const words = [h("dt", {}, name), h("dd", { class: "figure" }, number(value)), h("dd", { class: "words" }, text)];
  return h("div", { class: warn ? "tile warn" : "tile" }, ...words);
}

/** @param {{owner: string | null, chips: {partition: number, behind: number}[]}} row */
function ownerRow({ owner, chips }) {
  const name = owner === null ? label("warn", "No owner") : h("span", { class: "code" }, owner);
  const one = (/** @type {{partition: number, behind: number}} */ { partition, behind }) =>
    h(
      "li",
      { class: owner === null ? "chip warn" : "chip" },
      partition,
      behind > 0 && h("small", {}, `${number(behind)} behind`),
    );
  return h("div", { class: "owner", role: "listitem" }, name, h("ul", { class: "chips" }, ...chips.map(one)));
}

customElements.define("rookery-admin-processes", Processes);
customElements.define("rookery-admin-role", RoleCard);
