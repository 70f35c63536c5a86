// A search field with its icon.

import { h } from "../dom.js";
import { icon } from "../icons.js";

/** @param {string} label */
export function searchBox(label) {
  const attributes = {
    type: "search",
    placeholder: label,
    "aria-label": label,
    autocomplete: "off",
    spellcheck: "false",
  };
  const input = h("input", attributes);
  return { input, element: h("div", { class: "search", role: "search" }, icon("search"), input) };
}
