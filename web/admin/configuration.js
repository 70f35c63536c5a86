// The live configuration: each key with a form to change it, and the history of changes.

import { explain } from "../api.js";
import { emptyState } from "../components/empty.js";
import { Form, Invalid } from "../components/form.js";
import { searchBox } from "../components/search-box.js";
import { isForInputMethod } from "../keys.js";
import { h } from "../view.js";
import { texts } from "./languages/language.js";
import { Pages } from "./pages.js";
import { card, MoreButton, Section } from "./section.js";
import { stamp, parseValue, valueText } from "./summaries.js";
import { label, named, table } from "./table.js";

/** @import {Column} from "./table.js" */
/** @import {Frame} from "./section.js" */
/** @import {Change, Setting, Value} from "./types.js" */

export class Configuration extends Section {
  /** The text that shown keys contain. */
  #filter = "";
  /** @type {Setting[]} */
  #values = [];
  /** By key. @type {Map<string, ValueRow>} */
  #rows = new Map();
  /** @type {Column<Change>[]} */
  #columns = [
    { label: texts.configuration.when, show: ({ at_ms }) => stamp(at_ms), kind: "short" },
    { label: texts.configuration.who, show: ({ by }) => named(by) },
    { label: texts.configuration.key, show: ({ key }) => key, kind: "code" },
    { label: texts.configuration.change, show: change },
  ];
  #history;
  #more;

  /** @param {Frame} frame */
  constructor(frame) {
    super(frame);
    this.#history = new Pages((before) => frame.api.history(before));
    this.#more = new MoreButton(frame.root, this.#history);
  }

  /** @override */
  async load() {
    const [{ values }] = await Promise.all([this.frame.api.configuration(), this.#history.refresh()]);
    this.#values = values;
  }

  /** @override */
  content() {
    const found = this.#values.filter(({ key, description }) =>
      `${key} ${description}`.toLowerCase().includes(this.#filter),
    );
    const { entries } = this.#history;
    return [
      card(
        texts.configuration.values,
        texts.configuration.valuesNote,
        searchBox(texts.configuration.find, { oninput: (/** @type {InputEvent} */ event) => this.#typed(event) }),
        h(
          "div",
          { class: "settings", role: "list", "aria-label": texts.configuration.keys },
          found.map((setting) => this.#row(setting.key).view(setting)),
        ),
        found.length === 0 && emptyState(texts.configuration.noKey, texts.configuration.noKeyNote),
      ),
      card(
        texts.configuration.history,
        texts.configuration.historyNote,
        table(texts.configuration.history, this.#columns, entries, ({ id }) => id),
        entries.length === 0 && emptyState(texts.configuration.noChanges, texts.configuration.noChangesNote),
        this.#more.view(texts.configuration.older),
      ),
    ];
  }

  /** @param {string} key */
  #row(key) {
    const row = this.#rows.get(key) ?? new ValueRow(this.frame);
    this.#rows.set(key, row);
    return row;
  }

  /** @param {InputEvent} event */
  #typed({ target }) {
    this.#filter = /** @type {HTMLInputElement} */ (target).value.trim().toLowerCase();
    this.frame.root.invalidate();
  }
}

/** A key, its value, and the form to change it. A value that arrives does not change the input of an open form. */
class ValueRow {
  #frame;
  /** The open form; null while the value is shown. @type {Form | null} */
  #form = null;
  /** @type {HTMLElement | undefined} */
  #edit;

  /** @param {Frame} frame */
  constructor(frame) {
    this.#frame = frame;
  }

  /** @param {Setting} setting */
  view(setting) {
    const { key, description } = setting;
    return h(
      "div",
      { class: "setting", role: "listitem", key },
      h(
        "div",
        { class: "setting-words" },
        h("h3", {}, h("span", { class: "code" }, key)),
        h("p", { class: "soft" }, english(description)),
      ),
      this.#form ? this.#formView(this.#form, setting) : this.#value(setting),
    );
  }

  /** @param {Setting} setting */
  #value({ key, value, is_set, bounds, default: usual }) {
    const default_ = is_set ? texts.configuration.usual(valueText(usual)) : texts.configuration.isDefault;
    const edit = {
      ...{ class: "text-button", type: "button", "aria-label": texts.configuration.editKey(key) },
      onclick: () => this.#open(key, usual),
      ref: (/** @type {HTMLElement} */ element) => void (this.#edit = element),
    };
    const mark = is_set && [" ", label("good", texts.configuration.set)];
    const words = h("span", { class: "value" }, h("span", { class: "code" }, valueText(value)), mark);
    const note = h("small", { class: "soft" }, default_, bounds && [" · ", english(bounds)]);
    const button = h("button", edit, texts.configuration.edit);
    return h("div", { class: "setting-value", key: "value" }, h("div", {}, words, note), button);
  }

  /** @param {Form} form @param {Setting} setting */
  #formView(form, { key, value, is_set, bounds, default: usual }) {
    const { api } = this.#frame;
    const field = {
      ...{ label: texts.configuration.newValue(key), name: "value", value: String(value) },
      hint: [bounds && [english(sentence(bounds)), " "], texts.configuration.usualNote(valueText(usual))],
      attributes: {
        inputmode: typeof usual === "number" ? "decimal" : null,
        ...{ autocomplete: "off", spellcheck: "false", autocapitalize: "none", dir: "ltr" },
      },
    };
    const words = texts.configuration.isReset(key, valueText(usual));
    const reset = () => void form.run(() => this.#change(() => api.unsetValue(key), words));
    const button = (/** @type {string} */ words, /** @type {() => void} */ onclick) =>
      h("button", { class: "quiet", type: "button", key: words, disabled: form.isBusy, onclick }, words);
    const closing = (/** @type {KeyboardEvent} */ event) => event.key === "Escape" && !isForInputMethod(event) && this.#close();
    return h(
      "form",
      { class: "setting-form", key: "form", ...form.props, onkeydown: closing },
      form.field(field),
      h(
        "div",
        { class: "buttons" },
        form.submitButton(texts.configuration.save),
        is_set && button(texts.configuration.useDefault, reset),
        button(texts.configuration.cancel, () => this.#close()),
      ),
    );
  }

  /** @param {string} key @param {Value} usual its default */
  #open(key, usual) {
    const { api, root } = this.#frame;
    const form = new Form(root, ({ value: typed = "" }) => {
      const value = parseValue(typed, usual);
      return this.#change(() => api.setValue(key, value), texts.configuration.isNow(key, valueText(value)));
    });
    this.#form = form;
    root.after(() => {
      form.input("value")?.focus();
      form.input("value")?.select();
    });
    root.invalidate();
  }

  #close() {
    this.#form = null;
    this.#frame.root.after(() => this.#edit?.focus());
    this.#frame.root.invalidate();
  }

  /** @param {() => Promise<void>} act @param {string} done @throws {Invalid} */
  async #change(act, done) {
    try {
      await act();
    } catch (fault) {
      throw new Invalid({ value: explain(fault) });
    }
    this.#close();
    this.#frame.notify(done);
    await this.#frame.refresh();
  }
}

/** @param {Change} change */
function change({ old, new: fresh }) {
  return [
    h(
      "span",
      { "aria-hidden": "true" },
      h("span", { class: "code soft" }, valueText(old)),
      h("span", { class: "arrow" }, " → "),
      h("span", { class: "code" }, valueText(fresh)),
    ),
    h("span", { class: "unseen" }, texts.configuration.fromTo(valueText(old), valueText(fresh))),
  ];
}

/** A text of the server, which is always in English. @param {string} text */
const english = (text) => h("span", { lang: "en", dir: "ltr" }, text);

/** @param {string} text */
const sentence = (text) => (text ? `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, "")}.` : "");
