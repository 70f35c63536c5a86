// A button that opens a short menu beneath it, on the browser's own popover: Escape and a click elsewhere close it.

import { moveFocus } from "../focus.js";
import { h } from "../view.js";
import { iconButton } from "./buttons.js";
import { placeBeside } from "./popover-position.js";

/** @typedef {{label: string, choose: () => void} | {label: string, href: string}} Choice an action, or a link */

/** The items of a menu. @param {readonly Choice[]} choices @param {() => void} close called before an action */
export function menuItems(choices, close) {
  return choices.map((choice, at) => {
    const props = { role: "menuitem", autofocus: at === 0 };
    if ("href" in choice) return h("a", { ...props, href: choice.href }, choice.label);
    const pressed = () => {
      close();
      choice.choose();
    };
    return h("button", { ...props, type: "button", onclick: pressed }, choice.label);
  });
}

let made = 0;

export class MenuButton {
  #label;
  #changed;
  #id = `menu-${++made}`;
  #isOpen = false;
  /** @type {HTMLElement | undefined} */
  #button;
  /** @type {HTMLElement | undefined} */
  #menu;

  /** @param {string} label @param {() => void} changed called when the menu has opened or closed */
  constructor(label, changed) {
    this.#label = label;
    this.#changed = changed;
  }

  /** @param {readonly Choice[]} choices */
  view(choices) {
    const button = {
      ...{ popovertarget: this.#id, "aria-haspopup": "menu", "aria-expanded": String(this.#isOpen) },
      ref: (/** @type {HTMLElement} */ element) => void (this.#button = element),
    };
    const menu = {
      ...{ class: "menu", role: "menu", "aria-label": this.#label, popover: "auto", id: this.#id },
      ref: (/** @type {HTMLElement} */ element) => void (this.#menu = element),
      ontoggle: (/** @type {ToggleEvent} */ event) => this.#toggled(event.newState === "open"),
      onkeydown: (/** @type {KeyboardEvent} */ event) => moveFocus(event, this.#items()),
    };
    return h(
      "div",
      {},
      iconButton(this.#label, "menu", null, button),
      h("div", menu, menuItems(choices, () => this.#menu?.hidePopover())),
    );
  }

  /** @param {boolean} isOpen */
  #toggled(isOpen) {
    this.#isOpen = isOpen;
    if (isOpen && this.#menu && this.#button) placeBeside(this.#menu, this.#button);
    this.#changed();
  }

  #items() {
    return /** @type {HTMLElement[]} */ ([...(this.#menu?.children ?? [])]);
  }
}
