// A button that opens a short menu beneath it, on the browser's own popover: Escape and a click elsewhere close it.

import { h } from "../dom.js";
import { moveFocus } from "../focus.js";
import { iconButton } from "./buttons.js";
import { placeBeside } from "./place.js";

/** @typedef {{label: string, choose: () => void} | {label: string, href: string}} Choice an action, or a link */

/**
 * @param {string} label
 * @param {() => Choice[]} choices called each time the menu opens
 */
export function menuButton(label, choices) {
  const menu = h("div", { class: "menu", role: "menu", "aria-label": label, popover: "auto" });
  const button = iconButton(label, "menu", null, { "aria-haspopup": "menu", "aria-expanded": "false" });
  /** @param {Choice} choice @param {number} at */
  const item = (choice, at) => {
    const attributes = { role: "menuitem", autofocus: at === 0 };
    if ("href" in choice) return h("a", { ...attributes, href: choice.href }, choice.label);
    const pressed = () => {
      menu.hidePopover();
      choice.choose();
    };
    return h("button", { ...attributes, type: "button", onclick: pressed }, choice.label);
  };
  button.popoverTargetElement = menu;
  menu.addEventListener("beforetoggle", (event) => {
    if (event.newState === "open") menu.replaceChildren(...choices().map(item));
  });
  menu.addEventListener("toggle", (event) => {
    const open = /** @type {ToggleEvent} */ (event).newState === "open";
    button.setAttribute("aria-expanded", String(open));
    if (open) placeBeside(menu, button);
  });
  menu.addEventListener("keydown", (event) => moveFocus(event, /** @type {HTMLElement[]} */ ([...menu.children])));
  return h("div", {}, button, menu);
}
