// The audit log: every admin act, the newest first, and a filter over what has been read of it.

import { emptyState } from "../components/empty.js";
import { searchBox } from "../components/search-box.js";
import { h, setText } from "../dom.js";
import { actName, actorName, mentions, number, stamp } from "./figures.js";
import { Pages } from "./pages.js";
import { card, moreButton, Section } from "./section.js";
import { showNamed, Table } from "./table.js";

/** @import {Frame} from "./section.js" */
/** @import {AuditEntry} from "./types.js" */

export class Audit extends Section {
  #search = searchBox("Filter what is shown");
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
  #quiet = emptyState("No act yet", "Whatever an admin does will be here, on this page, by the API or by a command.");
  #none = emptyState("Nothing like that", "None of the entries read so far contains it.");

  /** @param {Frame} frame */
  constructor(frame) {
    super(frame);
    this.#pages = new Pages((before) => frame.api.audit(before));
  }

  /** @override */
  connected() {
    super.connected();
    const text = "Every admin act, the newest first.";
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
    const found = text ? entries.filter((entry) => mentions(entry, text)) : entries;
    this.#table.show(found);
    this.#table.element.hidden = found.length === 0;
    this.#quiet.hidden = entries.length > 0;
    this.#none.hidden = found.length > 0 || entries.length === 0;
    this.#older.hidden = next === null;
    setText(this.#count, text ? `${number(found.length)} of the ${number(entries.length)} entries read so far.` : "");
  }
}

customElements.define("rookery-admin-audit", Audit);
