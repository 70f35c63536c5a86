// A labelled input with a hint, which an error message replaces.

import { h, setAttribute, setText } from "../dom.js";

let made = 0;

/**
 * @param {object} what
 * @param {string} what.label
 * @param {string} what.name of the field, the same as in the HTTP API
 * @param {string} [what.hint]
 * @param {boolean} [what.long] several lines
 * @param {Record<string, unknown>} [what.attributes] of the input
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
