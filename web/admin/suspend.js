// The dialog in which an admin suspends a user, with a reason.

import { avatar } from "../components/avatar.js";
import { check } from "../components/form.js";
import { FormModal } from "../components/modal.js";
import { displayName } from "../format.js";
import { h } from "../view.js";
import { texts } from "./languages/language.js";

/** @import {Values} from "../components/form.js" */
/** @import {Frame} from "./section.js" */
/** @import {Account} from "./types.js" */

/** The dialog, which is not open yet. @param {Frame} frame @param {Account} account */
export function suspendDialog(frame, account) {
  const name = displayName(account);
  const field = {
    label: texts.user.reason,
    name: "reason",
    hint: texts.user.reasonNote,
    attributes: { maxlength: 200, dir: "auto", autocomplete: "off", required: true, autofocus: true },
  };
  const save = async (/** @type {Values} */ { reason = "" }) => {
    check({ reason: reason.trim() ? "" : texts.user.reasonMissing });
    await frame.api.suspend(account.user_id, reason.trim());
    frame.notify(texts.user.isSuspended(name));
    void frame.refresh();
  };
  const words = question(account, texts.user.suspendNote);
  const modal = new FormModal(texts.user.suspendTitle(name), texts.user.suspendName(name), [field], save, words);
  modal.element.classList.add("dangerous");
  return modal;
}

/** The user whom an action is about, and the words on it. @param {Account} account @param {string} words */
export function question(account, words) {
  const name = h("strong", {}, h("bdi", {}, displayName(account)));
  const names = h("span", {}, name, h("small", { class: "soft" }, h("bdi", {}, `@${account.name}`)));
  return [h("div", { class: "target" }, avatar(account), names), h("p", { class: "words" }, words)];
}
