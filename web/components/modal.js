// Dialogs: a modal, and a modal with a form that is sent to the server.

import { texts } from "../languages/language.js";
import { h, Root } from "../view.js";
import { iconButton } from "./buttons.js";
import { Form } from "./form.js";

/** @import {Field, Values} from "./form.js" */
/** @import {Store} from "../stores/store.js" */
/** @import {Children} from "../view.js" */

/** A modal that is removed from the page when it is closed; Escape and a click outside also close it. */
export class Modal {
  element = document.createElement("dialog");
  /** Renders its content. */
  root;

  /** @param {string} title @param {() => Children} content */
  constructor(title, content) {
    const close = iconButton(texts.close, "close", () => this.close());
    const head = h("header", { class: "dialog-head" }, h("h2", {}, title), close);
    this.root = new Root(this.element, () => [head, content()]);
    this.element.className = "dialog";
    this.element.setAttribute("aria-label", title);
    this.element.addEventListener("close", () => this.element.remove());
    this.element.addEventListener("click", (event) => event.target === this.element && this.close());
  }

  /** Renders again after each change of the stores, while it is open. @param {...Store} stores */
  follow(...stores) {
    for (const store of stores) this.element.addEventListener("close", store.subscribe(this.root.invalidate));
  }

  open() {
    document.body.append(this.element);
    this.root.render();
    this.element.showModal();
  }

  close() {
    this.element.close();
  }
}

/** A modal with a form, which closes when it is saved. */
export class FormModal extends Modal {
  /**
   * @param {string} title
   * @param {string} action
   * @param {readonly Field[]} fields
   * @param {(values: Values) => Promise<unknown>} save throws a fault to keep the dialog open
   * @param {...(Children | (() => Children))} before above the fields; a function is called at each rendering
   */
  constructor(title, action, fields, save, ...before) {
    super(title, () => {
      const inputs = fields.map((field) => form.field(field));
      return h("form", form.props, before.map((one) => (typeof one === "function" ? one() : one)), inputs, form.error(), form.submitButton(action));
    });
    const form = new Form(this.root, async (values) => {
      await save(values);
      this.close();
    });
  }
}
