// Shows a new link of an invite or a password reset, which can't be read again, with a button that copies it.

import { Form } from "../components/form.js";
import { Modal } from "../components/modal.js";
import { linkAddress } from "../links.js";
import { h } from "../view.js";

/** @param {string} title @param {string} words @param {"invite" | "reset"} kind @param {string} token */
export function showLink(title, words, kind, token) {
  let result = "";
  /** @type {Modal} */
  const modal = new Modal(title, () =>
    h(
      "form",
      form.props,
      h("p", { class: "words" }, `${words} It is shown only now.`),
      form.field({ label: "Link", name: "link", value: linkAddress(kind, token), attributes: { readonly: true } }),
      h("p", { class: "note", role: "status" }, result),
      form.submitButton("Copy link"),
    ),
  );
  const form = new Form(modal.root, async ({ link = "" }) => {
    form.input("link")?.select();
    try {
      await navigator.clipboard.writeText(link);
      result = "Copied.";
    } catch {
      result = "Copy the selected link."; // without HTTPS there is no clipboard
    }
  });
  modal.open();
}
