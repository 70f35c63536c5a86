// The outcome of the user's last action in a dialog: a line that screen readers read out.

import { explain } from "../api.js";
import { Store } from "../stores/store.js";
import { h } from "../view.js";
import { Invalid } from "./form.js";

export class Outcome extends Store {
  #text = "";
  #isFailure = false;
  #isBusy = false;

  view() {
    return [
      h("p", { class: "note", role: "status", key: "done" }, !this.#isFailure && this.#text),
      h("p", { class: "note error", role: "alert", key: "failed" }, this.#isFailure && this.#text),
    ];
  }

  /** @param {string} text @param {boolean} [isFailure] */
  show(text, isFailure = false) {
    [this.#text, this.#isFailure] = [text, isFailure];
    this.changed();
  }

  /** Runs an action, one at a time, and shows its outcome. @param {() => Promise<string>} act returns what to show */
  async of(act) {
    if (this.#isBusy) return;
    this.#isBusy = true;
    this.show("");
    try {
      this.show(await act());
    } catch (fault) {
      this.show((fault instanceof Invalid && fault.message) || explain(fault), true);
    } finally {
      this.#isBusy = false;
    }
  }
}
