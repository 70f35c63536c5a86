// A labelled input with a hint, which an error message replaces.

import { h, setAttribute, setText } from "../dom.js";

let made = 0;

/**
 * @param {object} options
 * @param {string} options.label
 * @param {string} options.name of the field, the same as in the HTTP API
 * @param {string} [options.hint]
 * @param {boolean} [options.long] several lines
 * @param {Record<string, unknown>} [options.attributes] of the input
 */
export function field({ label, name, hint = "", long = false, attributes = {} }) {
  const id = `field-${++made}`;
  const described = `${id}-note`;
  const input = h(long ? "textarea" : "input", { id, name, "aria-describedby": described, ...attributes });
  const note = h("p", { class: "note", id: described }, hint);
  /** Shows the problem; the hint if it is empty. @param {string} problem */
  const setProblem = (problem) => {
    setAttribute(input, "aria-invalid", problem ? "true" : null);
    note.classList.toggle("error", problem !== "");
    setText(note, problem || hint);
  };
  input.addEventListener("input", () => setProblem(""));
  return { name, input, setProblem, element: h("div", { class: "field" }, h("label", { for: id }, label), input, note) };
}

/** @typedef {ReturnType<typeof field>} Field */

/**
 * Shows the problem of each field and moves the focus to the first.
 * @param {readonly Field[]} fields
 * @param {Record<string, string>} problems by field name
 */
export function showProblems(fields, problems) {
  for (const one of fields) one.setProblem(problems[one.name] ?? "");
  const first = fields.find((one) => problems[one.name]);
  first?.input.focus();
  return first !== undefined;
}
