// A menu for the elements of a list: a right click, a long press or the context menu key opens it.

import { moveFocus } from "../focus.js";
import { h, Root } from "../view.js";
import { menuItems } from "./menu.js";
import { placeBeside } from "./popover-position.js";

/** @import {Choice} from "./menu.js" */

/** A finger that rests on an element for this time, in milliseconds, opens the menu. */
const LONG_PRESS_MS = 500;
/** A finger that moves farther than this, in pixels, does not rest. */
const RESTING = 10;

export class ContextMenu {
  /** The listeners of the list. */
  listeners = {
    oncontextmenu: (/** @type {MouseEvent} */ event) => this.#requested(event),
    onpointerdown: (/** @type {PointerEvent} */ event) => this.#down(event),
    onpointermove: (/** @type {PointerEvent} */ event) => this.#moved(event),
    onpointerup: () => clearTimeout(this.#timer),
    onpointercancel: () => clearTimeout(this.#timer),
    ontouchend: (/** @type {TouchEvent} */ event) => this.#lifted(event),
  };
  #label;
  #selector;
  #choicesOf;
  #home = document.createElement("rookery-context-menu");
  #root = new Root(this.#home, () => this.#view());
  /** @type {HTMLElement | undefined} */
  #menu;
  /** The element to which the menu belongs. @type {HTMLElement | null} */
  #element = null;
  /** @type {readonly Choice[]} */
  #choices = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #pressed = { x: 0, y: 0 };
  /** Whether the finger that opened the menu still rests. */
  #isHeld = false;

  /**
   * @param {string} label of the menu
   * @param {string} selector of the elements that have it
   * @param {(element: HTMLElement) => readonly Choice[]} choicesOf an element; without any, the browser's menu opens
   */
  constructor(label, selector, choicesOf) {
    this.#label = label;
    this.#selector = selector;
    this.#choicesOf = choicesOf;
  }

  /** @param {MouseEvent} event */
  #requested(event) {
    clearTimeout(this.#timer);
    const isOpened = this.#isHeld || this.#open(event.target, event.clientX, event.clientY);
    if (isOpened) event.preventDefault();
    this.#isHeld = isOpened && /** @type {PointerEvent} */ (event).pointerType === "touch";
  }

  /** @param {PointerEvent} event */
  #down({ target, pointerType, clientX: x, clientY: y }) {
    this.#isHeld = false;
    this.#pressed = { x, y };
    clearTimeout(this.#timer);
    if (pointerType === "touch") this.#timer = setTimeout(() => (this.#isHeld = this.#open(target, x, y)), LONG_PRESS_MS);
  }

  /** @param {PointerEvent} event */
  #moved({ clientX, clientY }) {
    const { x, y } = this.#pressed;
    if (Math.hypot(clientX - x, clientY - y) > RESTING) clearTimeout(this.#timer);
  }

  /** The end of a long press is no click. @param {TouchEvent} event */
  #lifted(event) {
    if (this.#isHeld) event.preventDefault();
    this.#isHeld = false;
  }

  /**
   * Opens the menu at a point of the window. Returns whether the element has choices.
   * @param {EventTarget | null} target
   * @param {number} x
   * @param {number} y
   */
  #open(target, x, y) {
    const element = /** @type {HTMLElement | null} */ (target instanceof Element && target.closest(this.#selector));
    const choices = element ? this.#choicesOf(element) : [];
    if (!element || !choices.length) return false;
    if (!this.#home.isConnected) element.closest("nav")?.append(this.#home);
    this.#element = element;
    this.#choices = choices;
    this.#root.render();
    this.#menu?.showPopover();
    if (this.#menu) placeAt(this.#menu, x, y);
    document.addEventListener("pointerdown", this.#pressedElsewhere, { capture: true });
    return true;
  }

  #close() {
    this.#menu?.hidePopover();
    document.removeEventListener("pointerdown", this.#pressedElsewhere, { capture: true });
  }

  /** @param {PointerEvent} event */
  #pressedElsewhere = ({ target }) => {
    if (!this.#home.contains(/** @type {Node} */ (target))) this.#close();
  };

  #view() {
    const props = {
      // Not "auto": the release of the button or finger that opened the menu would close it.
      ...{ class: "menu", role: "menu", "aria-label": this.#label, popover: "manual" },
      ref: (/** @type {HTMLElement} */ element) => void (this.#menu = element),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#keyPressed(event),
      onfocusout: (/** @type {FocusEvent} */ { relatedTarget }) => {
        if (relatedTarget && !this.#home.contains(/** @type {Node} */ (relatedTarget))) this.#close();
      },
    };
    return h("div", props, menuItems(this.#choices, () => this.#leave()));
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    moveFocus(event, /** @type {HTMLElement[]} */ ([...(this.#menu?.children ?? [])]));
    if (event.key !== "Escape") return;
    event.preventDefault();
    this.#leave();
  }

  /** Closes the menu, and returns the focus. */
  #leave() {
    this.#close();
    this.#element?.focus({ preventScroll: true });
  }
}

/** @param {HTMLElement} menu @param {number} x its start @param {number} y its top */
function placeAt(menu, x, y) {
  const left = document.dir === "rtl" ? x - menu.offsetWidth : x;
  placeBeside(menu, { getBoundingClientRect: () => new DOMRect(left, y, menu.offsetWidth, 0) });
}
