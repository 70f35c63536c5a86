// The part of a long list that is on the page: it grows when the view comes near its end.

import { Modal } from "./modal.js";

/** Rows by which the part grows: more than a screen. */
const STEP = 50;
/** It grows when this many screens are left to scroll. */
const SCREENS_AHEAD = 1;

export class Growing {
  #count = STEP;

  /** @param {Modal} modal whose element scrolls the list */
  constructor({ element, root }) {
    element.addEventListener("scroll", () => {
      const { scrollTop, scrollHeight, clientHeight } = element;
      if (scrollHeight - scrollTop - clientHeight >= SCREENS_AHEAD * clientHeight) return;
      this.#count += STEP;
      root.invalidate();
    });
  }

  /** Begins again, since the list is another one. */
  reset() {
    this.#count = STEP;
  }

  /** @template Item @param {readonly Item[]} items @returns {readonly Item[]} */
  part(items) {
    this.#count = Math.min(this.#count, items.length + STEP);
    return items.slice(0, this.#count);
  }
}
