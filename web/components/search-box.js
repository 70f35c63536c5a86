// A search field with its icon.

import { icon } from "../icons.js";
import { h } from "../view.js";

/** @import {Props} from "../view.js" */

/** @param {string} label @param {Props} props of the input */
export function searchBox(label, props) {
  const input = {
    ...{ type: "search", placeholder: label, "aria-label": label, autocomplete: "off", spellcheck: "false" },
    ...props,
  };
  return h("div", { class: "search", role: "search" }, icon("search"), h("input", input));
}
