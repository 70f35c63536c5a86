// The audit log: every admin action, newest first, and a filter over the loaded entries.

import { emptyState } from "../components/empty.js";
import { searchBox } from "../components/search-box.js";
import { h } from "../view.js";
import { actName, actorName, matches, number, stamp } from "./figures.js";
import { Pages } from "./pages.js";
import { card, MoreButton, Section } from "./section.js";
import { named, table } from "./table.js";

/** @import {Frame} from "./section.js" */
/** @import {Column} from "./table.js" */
/** @import {AuditEntry} from "./types.js" */

/** @type {Column<AuditEntry>[]} */
const COLUMNS = [
  { label: "When", show: ({ at_ms }) => stamp(at_ms), kind: "short" },
  { label: "Who", show: ({ actor }) => named(actorName(actor)) },
  { label: "Act", show: ({ act }) => actName(act), kind: "short" },
  { label: "On", show: ({ target }) => named(target) },
  { label: "Detail", show: ({ detail }) => detail, kind: "wide" },
  { label: "From", show: ({ address }) => address, kind: "short" },
];

export class Audit extends Section {
  /** The text that shown entries contain. */
  #filter = "";
  #pages;
  #more;

  /** @param {Frame} frame */
  constructor(frame) {
    super(frame);
    this.#pages = new Pages((before) => frame.api.audit(before));
    this.#more = new MoreButton(frame.root, this.#pages);
  }

  /** @override */
  load() {
    return this.#pages.refresh();
  }

  /** @override */
  content() {
    const { entries } = this.#pages;
    const found = this.#filter ? entries.filter((entry) => matches(entry, this.#filter)) : entries;
    const count = `${number(found.length)} of the ${number(entries.length)} loaded entries.`;
    return card(
      "Acts",
      "Every admin action, newest first.",
      searchBox("Filter loaded entries", { oninput: (/** @type {InputEvent} */ event) => this.#typed(event) }),
      h("p", { class: "note", role: "status" }, this.#filter && count),
      table("Audit log", COLUMNS, found, ({ id }) => id),
      found.length === 0 && none(entries.length),
      this.#more.view("Show older entries"),
    );
  }

  /** @param {InputEvent} event */
  #typed({ target }) {
    this.#filter = /** @type {HTMLInputElement} */ (target).value.trim();
    this.frame.root.invalidate();
  }
}

/** @param {number} count of the loaded entries */
const none = (count) =>
  count
    ? emptyState("Nothing found", "None of the loaded entries contains this text.")
    : emptyState("No actions yet", "Actions of admins, from this page, the API or commands, will be listed here.");
