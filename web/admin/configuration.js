// The live configuration: each key with a form to change it, and the history of changes.

import { explain } from "../api.js";
import { textButton } from "../components/buttons.js";
import { emptyState } from "../components/empty.js";
import { field } from "../components/field.js";
import { searchBox } from "../components/search-box.js";
import { h, reconcile, setText } from "../dom.js";
import { stamp, parseValue, valueText } from "./figures.js";
import { Pages } from "./pages.js";
import { card, moreButton, Section } from "./section.js";
import { label, showNamed, showOnce, Table } from "./table.js";

/** @import {Frame} from "./section.js" */
/** @import {Change, Setting} from "./types.js" */

export class Configuration extends Section {
  #search = searchBox("Find a key");
  #input = this.#search.input;
  #list = h("div", { class: "settings", role: "list", "aria-label": "Keys" });
  #none = emptyState("No such key", "No name or description contains that.");
  /** @type {Setting[]} */
  #values = [];
  #history;
  #table = new Table(
    "History",
    /** @type {import("./table.js").Column<Change>[]} */ ([
      { label: "When", text: ({ at_ms }) => stamp(at_ms), kind: "short" },
      { label: "Who", show: (cell, { by }) => showNamed(cell, by) },
      { label: "Key", text: ({ key }) => key, kind: "code" },
      { label: "Change", show: showChange },
    ]),
    ({ id }) => id,
  );
  #older = moreButton("Show older changes", async () => {
    await this.#history.older();
    this.#showHistory();
  });
  #quiet = emptyState("No changes yet", "Changes will be listed here, with their authors.");

  /** @param {Frame} frame */
  constructor(frame) {
    super(frame);
    this.#history = new Pages((before) => frame.api.history(before));
  }

  /** @override */
  connected() {
    super.connected();
    const text = "A change takes effect in every process within a second, without a restart.";
    this.content.replaceChildren(
      card("Values", text, this.#search.element, this.#list, this.#none),
      card("History", "All changes and their authors, newest first.", this.#table.element, this.#quiet, this.#older),
    );
    this.listen(this.#input, "input", () => this.#showValues());
  }

  /** @override */
  async load() {
    const [{ values }] = await Promise.all([this.frame.api.configuration(), this.#history.refresh()]);
    this.#values = values;
    this.#showValues();
    this.#showHistory();
  }

  #showValues() {
    const text = this.#input.value.trim().toLowerCase();
    const found = this.#values.filter(({ key, description }) => `${key} ${description}`.toLowerCase().includes(text));
    this.#none.hidden = found.length > 0;
    reconcile(this.#list, found, {
      key: ({ key }) => key,
      make: () => new ValueRow(this.frame),
      update: (row, setting) => row.show(setting),
    });
  }

  #showHistory() {
    const { entries, next } = this.#history;
    this.#table.show(entries);
    this.#table.element.hidden = entries.length === 0;
    this.#quiet.hidden = entries.length > 0;
    this.#older.hidden = next === null;
  }
}

/** A key, its value, and the form to change it. A value that arrives while the form is open does not change the form. */
class ValueRow extends HTMLElement {
  #frame;
  #key = h("h3", { class: "code" });
  #description = h("p", { class: "soft" });
  #value = h("span", { class: "value code" });
  #note = h("small", { class: "soft" });
  #edit = textButton("text-button", () => this.#open(), "Change");
  #shown = h("div", { class: "setting-value" }, h("div", {}, this.#value, this.#note), this.#edit);
  #form = h("form", { class: "setting-form", novalidate: true, hidden: true });
  /** @type {Setting | undefined} */
  #setting;

  /** @param {Frame} frame */
  constructor(frame) {
    super();
    this.#frame = frame;
    this.className = "setting";
    this.setAttribute("role", "listitem");
    this.append(h("div", { class: "setting-words" }, this.#key, this.#description), this.#shown, this.#form);
  }

  /** @param {Setting} setting */
  show(setting) {
    this.#setting = setting;
    setText(this.#key, setting.key);
    setText(this.#description, setting.description);
    this.#edit.setAttribute("aria-label", `Change ${setting.key}`);
    const { value, is_set } = setting;
    showOnce(this.#value, [value, is_set], () => [valueText(value), ...(is_set ? [" ", label("good", "set")] : [])]);
    const default_ = is_set ? `default ${valueText(setting.default)}` : "the default";
    setText(this.#note, setting.bounds ? `${default_}, ${setting.bounds}` : default_);
  }

  #open() {
    const setting = this.#setting;
    if (!setting) return;
    const number = typeof setting.default === "number";
    const one = field({
      label: `New value of ${setting.key}`,
      name: "value",
      hint: `${sentence(setting.bounds)} The default is ${valueText(setting.default)}.`,
      attributes: {
        inputmode: number ? "decimal" : null,
        autocomplete: "off",
        spellcheck: "false",
        autocapitalize: "none",
      },
    });
    one.input.value = String(setting.value);
    const send = (/** @type {() => Promise<void>} */ act, /** @type {string} */ done) => this.#send(one, act, done);
    const { api } = this.#frame;
    const buttons = [h("button", { class: "primary", type: "submit" }, "Save")];
    if (setting.is_set) {
      const words = `${setting.key} is reset to its default: ${valueText(setting.default)}.`;
      buttons.push(textButton("quiet", () => void send(() => api.unsetValue(setting.key), words), "Use the default"));
    }
    buttons.push(textButton("quiet", () => this.#close(), "Cancel"));
    this.#form.replaceChildren(one.element, h("div", { class: "buttons" }, ...buttons));
    this.#form.onsubmit = (event) => {
      event.preventDefault();
      const value = parseValue(one.input.value, setting.default);
      void send(() => api.setValue(setting.key, value), `${setting.key} is now ${valueText(value)}.`);
    };
    this.#form.onkeydown = (event) => {
      if (event.key === "Escape") this.#close();
    };
    this.#form.hidden = false;
    this.#shown.hidden = true;
    one.input.focus();
    if (one.input instanceof HTMLInputElement) one.input.select();
  }

  #close() {
    this.#form.hidden = true;
    this.#form.replaceChildren();
    this.#shown.hidden = false;
    this.#edit.focus();
  }

  /** @param {import("../components/field.js").Field} one @param {() => Promise<void>} act @param {string} done */
  async #send(one, act, done) {
    const buttons = [...this.#form.querySelectorAll("button")];
    for (const button of buttons) button.disabled = true;
    try {
      await act();
      this.#close();
      this.#frame.notify(done);
      await this.#frame.refresh();
    } catch (fault) {
      one.setProblem(explain(fault));
      one.input.focus();
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  }
}

/** @param {HTMLElement} cell @param {Change} change */
function showChange(cell, { old, new: fresh }) {
  showOnce(cell, [old, fresh], () => [
    h("span", { class: "code soft" }, valueText(old)),
    h("span", { class: "arrow", "aria-hidden": "true" }, " → "),
    h("span", { class: "unseen" }, " to "),
    h("span", { class: "code" }, valueText(fresh)),
  ]);
}

/** @param {string} text */
const sentence = (text) => (text ? `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, "")}.` : "");

customElements.define("rookery-admin-configuration", Configuration);
customElements.define("rookery-admin-value", ValueRow);
