// A labelled input with a place for a hint and for what is wrong with it.

import { h, setAttribute, setText } from "../dom.js";

let made = 0;

/**
 * @param {object} what
 * @param {string} what.label
 * @param {string} what.name of the field, which is also what the server calls it
 * @param {string} [what.hint]
 * @param {boolean} [what.long] several lines
 * @param {Record<string, unknown>} [what.attributes] of the input
 */
export function field({ label, name, hint = "", long = false, attributes = {} }) {
  const id = `field-${++made}`;
  const described = `${id}-note`;
  const input = h(long ? "textarea" : "input", { id, name, "aria-describedby": described, ...attributes });
  const note = h("p", { class: "note", id: described }, hint);
  /** Says what is wrong, or the hint again if nothing is. @param {string} problem */
  const say = (problem) => {
    setAttribute(input, "aria-invalid", problem ? "true" : null);
    note.classList.toggle("error", problem !== "");
    setText(note, problem || hint);
  };
  input.addEventListener("input", () => say(""));
  return { name, input, say, element: h("div", { class: "field" }, h("label", { for: id }, label), input, note) };
}

/** @typedef {ReturnType<typeof field>} Field */

/**
 * Shows each field's problem, and takes the person to the first.
 * @param {readonly Field[]} fields
 * @param {Record<string, string>} problems by field name
 */
export function showProblems(fields, problems) {
  for (const one of fields) one.say(problems[one.name] ?? "");
  const first = fields.find((one) => problems[one.name]);
  first?.input.focus();
  return first !== undefined;
}
