// Shows a new link of an invite or a password reset, which can't be read again, with a button that copies it.

import { Form } from "../components/form.js";
import { Modal } from "../components/modal.js";
import { linkAddress } from "../links.js";
import { h } from "../view.js";
import { texts } from "./languages/language.js";

/** @param {string} title @param {string} words @param {"invite" | "reset"} kind @param {string} token */
export function showLink(title, words, kind, token) {
  let result = "";
  /** @type {Modal} */
  const modal = new Modal(title, () =>
    h(
      "form",
      form.props,
      h("p", { class: "words" }, words),
      form.field({
        ...{ label: texts.link.link, name: "link", value: linkAddress(kind, token) },
        attributes: { readonly: true, dir: "ltr" },
      }),
      h("p", { class: "note", role: "status" }, result),
      form.submitButton(texts.link.copy),
    ),
  );
  const form = new Form(modal.root, async ({ link = "" }) => {
    form.input("link")?.select();
    try {
      await navigator.clipboard.writeText(link);
      result = texts.link.copied;
    } catch {
      result = texts.link.copyIt; // a page over HTTP has no clipboard
    }
  });
  modal.open();
}
