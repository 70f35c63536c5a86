// Dialogs: a modal, and a modal with a form that is sent to the server.

import { explain, Problem } from "../api.js";
import { h, setText } from "../dom.js";
import { iconButton } from "./buttons.js";
import { showProblems } from "./field.js";

/** @import {Field} from "./field.js" */

/** A modal that is removed from the page when it is closed; Escape and a click outside also close it. */
export class Modal {
  /** @param {string} title @param {...(Node | string)} content */
  constructor(title, ...content) {
    const close = iconButton("Close", "close", () => this.close());
    const head = h("header", { class: "dialog-head" }, h("h2", {}, title), close);
    this.element = h("dialog", { class: "dialog", "aria-label": title }, head, ...content);
    this.element.addEventListener("close", () => this.element.remove());
    this.element.addEventListener("click", (event) => event.target === this.element && this.close());
  }

  open() {
    document.body.append(this.element);
    this.element.showModal();
  }

  close() {
    this.element.close();
  }
}

/** A modal with a form, which closes when the server has accepted it. */
export class FormModal extends Modal {
  /**
   * @param {string} title
   * @param {string} action
   * @param {readonly Field[]} fields
   * @param {() => Promise<boolean | void>} save false if a field has to be corrected first
   * @param {...Node} before
   */
  constructor(title, action, fields, save, ...before) {
    const error = h("p", { class: "note error", role: "alert" });
    const button = h("button", { class: "primary", type: "submit" }, action);
    const form = h("form", { novalidate: true }, ...before, ...fields.map((one) => one.element), error, button);
    super(title, form);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      button.disabled = true;
      setText(error, "");
      try {
        if ((await save()) !== false) this.close();
      } catch (fault) {
        const shown = fault instanceof Problem && showProblems(fields, { [fault.field]: explain(fault) });
        if (!shown) setText(error, explain(fault));
      } finally {
        button.disabled = false;
      }
    });
  }
}
