// The audit log: every admin action, newest first, and a filter over the loaded entries.

import { emptyState } from "../components/empty.js";
import { searchBox } from "../components/search-box.js";
import { h } from "../view.js";
import { texts } from "./languages/language.js";
import { Pages } from "./pages.js";
import { card, MoreButton, Section } from "./section.js";
import { actName, actorName, matches, stamp } from "./summaries.js";
import { named, table } from "./table.js";

/** @import {Frame} from "./section.js" */
/** @import {Column} from "./table.js" */
/** @import {AuditEntry} from "./types.js" */

export class Audit extends Section {
  /** The text that shown entries contain. */
  #filter = "";
  /** @type {Column<AuditEntry>[]} */
  #columns = [
    { label: texts.audit.when, show: ({ at_ms }) => stamp(at_ms), kind: "short" },
    { label: texts.audit.who, show: ({ actor }) => named(actorName(actor)) },
    { label: texts.audit.act, show: ({ act }) => actName(act), kind: "short" },
    { label: texts.audit.target, show: ({ target }) => named(target) },
    { label: texts.audit.detail, show: ({ detail }) => detail, kind: "wide" },
    { label: texts.audit.address, show: ({ address }) => address, kind: "short" },
  ];
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
    const count = texts.audit.shown(found.length, entries.length);
    return card(
      texts.audit.acts,
      texts.audit.note,
      searchBox(texts.audit.filter, { oninput: (/** @type {InputEvent} */ event) => this.#typed(event) }),
      h("p", { class: "note", role: "status" }, this.#filter && count),
      table(texts.audit.log, this.#columns, found, ({ id }) => id),
      found.length === 0 && none(entries.length),
      this.#more.view(texts.audit.older),
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
    ? emptyState(texts.audit.nothing, texts.audit.nothingNote)
    : emptyState(texts.audit.none, texts.audit.noneNote);
