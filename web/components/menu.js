// A button that opens a short menu beneath it, on the browser's own popover: Escape and a click elsewhere close it.

import { h, moveFocus } from "../dom.js";
import { iconButton } from "./buttons.js";
import { placeBeside } from "./place.js";

/**
 * @param {string} label
 * @param {{label: string, choose: () => void}[]} choices
 */
export function menuButton(label, choices) {
  const items = choices.map((choice, at) => {
    const pressed = () => choose(choice.choose);
    return h("button", { role: "menuitem", type: "button", autofocus: at === 0, onclick: pressed }, choice.label);
  });
  const menu = h("div", { class: "menu", role: "menu", "aria-label": label, popover: "auto" }, ...items);
  const button = iconButton(label, "menu", null, { "aria-haspopup": "menu", "aria-expanded": "false" });
  /** @param {() => void} chosen */
  const choose = (chosen) => {
    menu.hidePopover();
    chosen();
  };
  button.popoverTargetElement = menu;
  menu.addEventListener("toggle", (event) => {
    const open = /** @type {ToggleEvent} */ (event).newState === "open";
    button.setAttribute("aria-expanded", String(open));
    if (open) placeBeside(menu, button);
  });
  menu.addEventListener("keydown", (event) => moveFocus(event, items));
  return h("div", {}, button, menu);
}
