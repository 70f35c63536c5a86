// The audit log: every admin action, newest first, and a filter over the loaded entries.

import { emptyState } from "../components/empty.js";
import { searchBox } from "../components/search-box.js";
import { h, setText } from "../dom.js";
import { actName, actorName, matches, number, stamp } from "./figures.js";
import { Pages } from "./pages.js";
import { card, moreButton, Section } from "./section.js";
import { showNamed, Table } from "./table.js";

/** @import {Frame} from "./section.js" */
/** @import {AuditEntry} from "./types.js" */

export class Audit extends Section {
  #search = searchBox("Filter loaded entries");
  #input = this.#search.input;
  #count = h("p", { class: "note", role: "status" });
  #pages;
  #table = new Table(
    "Audit log",
    /** @type {import("./table.js").Column<AuditEntry>[]} */ ([
      { label: "When", text: ({ at_ms }) => stamp(at_ms), kind: "short" },
      { label: "Who", show: (cell, { actor }) => showNamed(cell, actorName(actor)) },
      { label: "Act", text: ({ act }) => actName(act), kind: "short" },
      { label: "On", show: (cell, { target }) => showNamed(cell, target) },
      { label: "Detail", text: ({ detail }) => detail, kind: "wide" },
      { label: "From", text: ({ address }) => address, kind: "short" },
    ]),
    ({ id }) => id,
  );
  #older = moreButton("Show older entries", async () => {
    await this.#pages.older();
    this.#show();
  });
  #quiet = emptyState("No actions yet", "Actions of admins, from this page, the API or commands, will be listed here.");
  #none = emptyState("Nothing found", "None of the loaded entries contains this text.");

  /** @param {Frame} frame */
  constructor(frame) {
    super(frame);
    this.#pages = new Pages((before) => frame.api.audit(before));
  }

  /** @override */
  connected() {
    super.connected();
    const text = "Every admin action, newest first.";
    const parts = [this.#search.element, this.#count, this.#table.element, this.#quiet, this.#none, this.#older];
    this.content.replaceChildren(card("Acts", text, ...parts));
    this.listen(this.#input, "input", () => this.#show());
  }

  /** @override */
  async load() {
    await this.#pages.refresh();
    this.#show();
  }

  #show() {
    const { entries, next } = this.#pages;
    const text = this.#input.value.trim();
    const found = text ? entries.filter((entry) => matches(entry, text)) : entries;
    this.#table.show(found);
    this.#table.element.hidden = found.length === 0;
    this.#quiet.hidden = entries.length > 0;
    this.#none.hidden = found.length > 0 || entries.length === 0;
    this.#older.hidden = next === null;
    setText(this.#count, text ? `${number(found.length)} of the ${number(entries.length)} loaded entries.` : "");
  }
}

customElements.define("rookery-admin-audit", Audit);
