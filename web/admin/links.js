// Shows a new link of an invite or a password reset, which can't be read again, with a button that copies it.

import { Form } from "../components/form.js";
import { Modal } from "../components/modal.js";
import { fullTime } from "../format.js";
import { linkAddress } from "../links.js";
import { h } from "../view.js";
import { AdminApi } from "./api.js";
import { texts } from "./languages/language.js";

/** @import {Api} from "../api.js" */

/** The number of accounts that an invite from the chats can create, and the days until it expires. */
const INVITE = { uses: 10, days: 7 };
const DAY_MS = 24 * 60 * 60 * 1000;

/** Creates an invite from the chats, and shows its link. @param {Pick<Api, "signedIn">} api */
export async function invitePeople(api) {
  const { token } = await new AdminApi(api).createInvite(INVITE.uses, INVITE.days);
  const words = texts.invites.shared(INVITE.uses, fullTime(Date.now() + INVITE.days * DAY_MS));
  showLink(texts.invites.created, words, "invite", token);
}

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
