// A table that stays in step with its data. On a phone each row becomes a card: its cells carry their own labels, and
// explicit roles, because a display other than a table's removes the implicit ones.

import { h, reconcile, setText } from "../dom.js";

/**
 * @template Item
 * @typedef {object} Column
 * @property {string} label
 * @property {(item: Item) => string} [text] the cell's text
 * @property {(cell: HTMLElement, item: Item) => void} [show] fills the cell, if it holds more than text
 * @property {string} [kind] its class, such as "number"
 */

/**
 * @template Item
 */
export class Table {
  #columns;
  #key;
  #body = h("tbody", { role: "rowgroup" });

  /** @param {string} label @param {readonly Column<Item>[]} columns @param {(item: Item) => string} key */
  constructor(label, columns, key) {
    this.#columns = columns;
    this.#key = key;
    const heads = columns.map((one) => h("th", { role: "columnheader", scope: "col", class: one.kind }, one.label));
    const head = h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...heads));
    this.element = h("table", { class: "table", role: "table", "aria-label": label }, head, this.#body);
  }

  /** @param {readonly Item[]} items */
  show(items) {
    reconcile(this.#body, items, {
      key: this.#key,
      make: () => this.#row(),
      update: (row, item) => this.#columns.forEach((column, at) => showCell(row.children[at], column, item)),
    });
  }

  #row() {
    const cells = this.#columns.map(({ label, kind = "" }) =>
      h("td", { role: "cell", class: kind, "data-label": label }, h("span", { class: "cell" })),
    );
    return h("tr", { role: "row" }, ...cells);
  }
}

/**
 * @template Item
 * @param {Element | undefined} cell
 * @param {Column<Item>} column
 * @param {Item} item
 */
function showCell(cell, { text, show }, item) {
  const place = /** @type {HTMLElement} */ (cell?.firstElementChild);
  if (text) setText(place, text(item));
  show?.(place, item);
}

/** @type {WeakMap<Element, string>} */
const shown = new WeakMap();

/**
 * Fills an element again only if its data has changed, so that the focus, a selection and open tooltips stay.
 * @param {Element} element
 * @param {unknown} data compared as JSON
 * @param {() => (Node | string)[]} make
 */
export function showOnce(element, data, make) {
  const text = JSON.stringify(data);
  if (shown.get(element) === text) return;
  shown.set(element, text);
  element.replaceChildren(...make());
}

/**
 * Shows a name of the form `ada (123)` as a link to the user, and any other text as it is.
 * @param {HTMLElement} cell
 * @param {string} text
 */
export function showNamed(cell, text) {
  const [, name, id] = text.match(/^(.+) \((\d+)\)$/) ?? [];
  showOnce(cell, text, () => (name && id ? [name, h("small", { class: "code" }, id)] : [text]));
}

/** A word on a coloured background. @param {"good" | "warn" | "danger" | "plain"} kind @param {string} text */
export const label = (kind, text) => h("span", { class: `label ${kind}` }, text);
