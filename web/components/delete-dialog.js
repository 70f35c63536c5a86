// Asks whether to delete a message for everyone. Loaded when it is first opened.

import { texts } from "../languages/language.js";
import { h } from "../view.js";
import { textButton } from "./buttons.js";
import { Modal } from "./modal.js";

export class DeleteDialog extends Modal {
  /** @param {() => void} confirmed */
  constructor(confirmed) {
    super(texts.deletion.title, () => [
      h("p", {}, texts.deletion.consequence),
      textButton("primary danger", () => this.#confirm(), texts.deletion.confirm),
      textButton("text-button wide", () => this.close(), texts.deletion.cancel),
    ]);
    this.confirmed = confirmed;
  }

  #confirm() {
    this.close();
    this.confirmed();
  }
}
