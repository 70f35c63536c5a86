// A table. On a phone each row becomes a card: its cells carry their own labels, and explicit roles, because a display
// other than a table's removes the implicit ones.

import { h } from "../view.js";

/** @import {Children} from "../view.js" */

/**
 * @template Item
 * @typedef {object} Column
 * @property {string} label
 * @property {(item: Item) => Children} show the content of a cell
 * @property {string} [kind] its class, such as "number"; the label of "acts" is only for screen readers
 */

/**
 * The table; nothing if there are no items.
 * @template Item
 * @param {string} label
 * @param {readonly Column<Item>[]} columns
 * @param {readonly Item[]} items
 * @param {(item: Item) => string} key
 */
export function table(label, columns, items, key) {
  if (items.length === 0) return null;
  const heads = columns.map((one) => h("th", { role: "columnheader", scope: "col", class: one.kind }, heading(one)));
  const rows = items.map((item) => {
    const cells = columns.map((column) => cell(column, item));
    return h("tr", { role: "row", key: key(item) }, cells);
  });
  return h(
    "table",
    { class: "table", role: "table", "aria-label": label, key: label },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)),
    h("tbody", { role: "rowgroup" }, rows),
  );
}

/** @param {Column<any>} column */
const heading = ({ label, kind }) => (kind === "acts" ? h("span", { class: "unseen" }, label) : label);

/**
 * @template Item
 * @param {Column<Item>} column
 * @param {Item} item
 */
function cell({ label, kind = "", show }, item) {
  const props = { role: "cell", class: kind, "data-label": kind === "acts" ? "" : label };
  return h("td", props, h("span", { class: "cell" }, show(item)));
}

/** A name of the form `ada (123)` with the id in small type; any other text unchanged. @param {string} text */
export function named(text) {
  const [, name, id] = text.match(/^(.+) \((\d+)\)$/) ?? [];
  return h("bdi", {}, name && id ? [name, h("small", { class: "code" }, id)] : text);
}

/** A word on a coloured background. @param {"good" | "warn" | "danger" | "plain"} kind @param {string} text */
export const label = (kind, text) => h("span", { class: `label ${kind}` }, text);
