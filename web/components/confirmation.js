// Asks before an action that is hard to undo.

import { h } from "../view.js";
import { FormModal } from "./modal.js";

export class Confirmation extends FormModal {
  /**
   * @param {{title: string, words: string, action: string}} question
   * @param {() => Promise<unknown>} act throws a fault to keep the dialog open
   */
  constructor({ title, words, action }, act) {
    super(title, action, [], act, h("p", {}, words));
    this.element.classList.add("dangerous");
  }
}
