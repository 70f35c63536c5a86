// The state of a form: the problem of each field, and whether the form is being sent. The inputs hold the values.

import { explain, Problem } from "../api.js";
import { texts } from "../languages/language.js";
import { h, Root } from "../view.js";

/** @import {Children} from "../view.js" */

/**
 * A labelled input. A problem replaces the hint.
 * @typedef {object} Field
 * @property {string} label
 * @property {string} name the same as in the HTTP API
 * @property {Children} [hint]
 * @property {boolean} [long] several lines
 * @property {string} [value] at the start
 * @property {Record<string, unknown>} [attributes] of the input
 */
/** @typedef {Record<string, string>} Values by field name */

/** Characters of a new password, at least; the server has the same rule. */
const SHORTEST_PASSWORD = 10;

/** The hint of a field for a new password. */
export const newPasswordRule = () => texts.newPasswordRule(SHORTEST_PASSWORD);

/** The problem of a new password; empty for none. @param {string} password */
export const newPasswordProblem = (password) => (password.length >= SHORTEST_PASSWORD ? "" : newPasswordRule());

/** The values can't be sent: the problem of each field, by name, or one that concerns no single field. */
export class Invalid extends Error {
  /** @param {Values} problems @param {string} [message] */
  constructor(problems, message) {
    super(message);
    this.problems = problems;
  }
}

/** @param {Values} problems by field name, empty for none @throws {Invalid} if a field has a problem */
export function check(problems) {
  if (Object.values(problems).some(Boolean)) throw new Invalid(problems);
}

let made = 0;

export class Form {
  isBusy = false;
  #root;
  #send;
  #id = ++made;
  /** @type {Values} by field name */
  #problems = {};
  /** The failure that concerns no single field. */
  #error = "";
  /** @type {HTMLFormElement | undefined} */
  #element;

  /** @param {Root} root @param {(values: Values) => Promise<unknown>} send throws a fault to keep the form open */
  constructor(root, send) {
    this.#root = root;
    this.#send = send;
  }

  /** The props of the form's element. */
  get props() {
    return {
      novalidate: true,
      ref: (/** @type {HTMLFormElement} */ element) => void (this.#element = element),
      oninput: (/** @type {InputEvent} */ { target }) => this.#edited(/** @type {HTMLInputElement} */ (target).name),
      onsubmit: (/** @type {SubmitEvent} */ event) => {
        event.preventDefault();
        void this.run(() => this.#send(this.#values));
      },
    };
  }

  /** @param {Field} field */
  field({ label, name, hint = "", long = false, value = "", attributes = {} }) {
    const problem = this.#problems[name] ?? "";
    const id = `form-${this.#id}-${name}`;
    const input = {
      ...{ id, name, "aria-describedby": `${id}-note`, "aria-invalid": problem ? "true" : null, ...attributes },
      ref: (/** @type {HTMLInputElement} */ element) => void (element.value = value),
    };
    return h(
      "div",
      { class: "field", key: name },
      h("label", { for: id }, label),
      h(long ? "textarea" : "input", input),
      h("p", { class: problem ? "note error" : "note", id: `${id}-note` }, problem || hint),
    );
  }

  /** The line that shows a failure that concerns no single field. */
  error() {
    return h("p", { class: "note error", role: "alert", key: "error" }, this.#error);
  }

  /** @param {string} action */
  submitButton(action) {
    return h("button", { class: "primary", type: "submit", key: "submit", disabled: this.isBusy }, action);
  }

  /** @param {string} name of a field */
  input(name) {
    return /** @type {HTMLInputElement | undefined} */ (this.#element?.elements.namedItem(name) ?? undefined);
  }

  /** Removes all problems. */
  clear() {
    this.#show({}, "");
  }

  /**
   * Runs an action of the form, one at a time. Shows its failure, and moves the focus to the invalid field.
   * @param {() => Promise<unknown>} act
   */
  async run(act) {
    if (this.isBusy) return;
    this.isBusy = true;
    this.#show(this.#problems, "");
    try {
      await act();
      this.#show({}, "");
    } catch (fault) {
      if (fault instanceof Invalid) this.#show(fault.problems, fault.message);
      else if (fault instanceof Problem && this.input(fault.field)) this.#show({ [fault.field]: explain(fault) }, "");
      else this.#show({}, explain(fault));
      this.#root.after(() => this.#firstInvalid()?.focus());
    } finally {
      this.isBusy = false;
    }
  }

  /** @returns {Values} */
  get #values() {
    return /** @type {Values} */ (Object.fromEntries(new FormData(this.#element)));
  }

  /** @param {Values} problems @param {string} error */
  #show(problems, error) {
    this.#problems = problems;
    this.#error = error;
    this.#root.invalidate();
  }

  /** @param {string} name */
  #edited(name) {
    if (this.#problems[name]) this.#show({ ...this.#problems, [name]: "" }, this.#error);
  }

  #firstInvalid() {
    return /** @type {HTMLElement | null | undefined} */ (this.#element?.querySelector("[aria-invalid]"));
  }
}
