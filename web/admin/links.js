// Shows a new link of an invite or a password reset, which can't be read again, with a button that copies it.

import { textButton } from "../components/buttons.js";
import { field } from "../components/field.js";
import { Modal } from "../components/modal.js";
import { h, setText } from "../dom.js";
import { linkAddress } from "../links.js";

/** @param {string} title @param {string} words @param {"invite" | "reset"} kind @param {string} token */
export function showLink(title, words, kind, token) {
  const link = field({ label: "Link", name: "link", attributes: { readonly: true } });
  link.input.value = linkAddress(kind, token);
  const copied = h("p", { class: "note", role: "status" });
  const copy = async () => {
    link.input.select();
    try {
      await navigator.clipboard.writeText(link.input.value);
      setText(copied, "Copied.");
    } catch {
      setText(copied, "Copy the selected link."); // without HTTPS there is no clipboard
    }
  };
  const text = `${words} It is shown only now.`;
  const button = textButton("primary", () => void copy(), "Copy link");
  new Modal(title, h("form", {}, h("p", { class: "words" }, text), link.element, copied, button)).open();
}
