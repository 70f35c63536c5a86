// One user: the account, its sign-ins, and the actions to suspend, restore, sign out, reset the password and delete.

import { explain } from "../api.js";
import { avatar } from "../components/avatar.js";
import { emptyState } from "../components/empty.js";
import { check } from "../components/form.js";
import { FormModal } from "../components/modal.js";
import { displayName, fullTime } from "../format.js";
import { h } from "../view.js";
import { number, stamp, usersAddress } from "./figures.js";
import { showLink } from "./links.js";
import { card } from "./section.js";
import { label, table } from "./table.js";

/** @import {Values} from "../components/form.js" */
/** @import {Frame} from "./section.js" */
/** @import {Column} from "./table.js" */
/** @import {Account, AccountDetails, DeviceSignIn} from "./types.js" */

/** @type {Column<DeviceSignIn>[]} */
const COLUMNS = [
  { label: "Device", show: ({ device_name }) => device_name || "not named" },
  { label: "Since", show: ({ created_at_ms }) => stamp(created_at_ms) },
];
const WHY_NOT =
  "An admin can’t be suspended or deleted, nor their password be reset here. " +
  "Revoke the admin role first, on the server, with “rookery user admin”.";

export class UserDetails {
  #frame;
  #error = "";
  /** @type {HTMLElement | undefined} */
  #name;
  /** @type {HTMLElement | undefined} */
  #acts;

  /** @param {Frame} frame */
  constructor(frame) {
    this.#frame = frame;
  }

  /** Another user will be shown. */
  clear() {
    this.#error = "";
  }

  focusName() {
    this.#name?.focus();
  }

  /** @param {AccountDetails} account */
  view(account) {
    if (this.#acts?.contains(document.activeElement)) this.#frame.root.after(() => this.#keepFocus());
    const { sign_ins } = account;
    return h(
      "rookery-admin-user",
      { key: account.user_id },
      h(
        "section",
        { class: "panel" },
        this.#identity(account),
        h("div", { class: "suspension" }, suspension(account)),
        this.#buttons(account),
        h("p", { class: "note error", role: "alert" }, this.#error),
      ),
      card(
        "Sign-ins",
        "Ending a sign-in ends its session.",
        table("Sign-ins", COLUMNS, sign_ins, ({ family_id }) => family_id),
        sign_ins.length === 0 && emptyState("Not signed in", "Unless suspended, the user can sign in at any time."),
      ),
    );
  }

  /** @param {Account} account */
  #identity(account) {
    const { name, user_id, created_at_ms } = account;
    const heading = { tabindex: -1, ref: (/** @type {HTMLElement} */ element) => void (this.#name = element) };
    const since = h("time", { datetime: new Date(created_at_ms).toISOString() }, fullTime(created_at_ms));
    const words = [`@${name} · id `, h("span", { class: "code" }, user_id), h("br"), "since ", since];
    return h(
      "div",
      { class: "identity" },
      avatar(account),
      h(
        "div",
        {},
        h("h2", heading, displayName(account)),
        h("span", { class: "labels" }, accountLabels(account)),
        h("p", { class: "soft facts" }, words),
      ),
    );
  }

  /** @param {AccountDetails} account */
  #buttons(account) {
    const { is_admin, suspended_at_ms, sign_ins } = account;
    /** @param {string} look @param {string} words @param {() => void} onclick @param {boolean} disabled */
    const act = (look, words, onclick, disabled = is_admin) =>
      h("button", { class: look, type: "button", key: words, disabled, onclick }, words);
    return h(
      "div",
      { class: "buttons", ref: (/** @type {HTMLElement} */ element) => void (this.#acts = element) },
      suspended_at_ms === null
        ? act("danger", "Suspend…", () => this.#suspend(account))
        : act("primary", "Restore", () => void this.#restore(account), false),
      act("quiet", "Sign out everywhere…", () => this.#signOut(account), sign_ins.length === 0),
      act("quiet", "Reset password…", () => this.#resetPassword(account)),
      act("danger", "Delete…", () => this.#delete(account)),
      is_admin && h("p", { class: "note" }, WHY_NOT),
    );
  }

  /** @param {Account} account */
  #suspend(account) {
    const name = displayName(account);
    const field = {
      label: "Reason",
      name: "reason",
      hint: "Recorded in the audit log.",
      attributes: { maxlength: 200, autocomplete: "off", required: true, autofocus: true },
    };
    const save = async (/** @type {Values} */ { reason = "" }) => {
      check({ reason: reason.trim() ? "" : "Enter a reason for the audit log." });
      await this.#frame.api.suspend(account.user_id, reason.trim());
      this.#done(`${name} is suspended and signed out everywhere.`);
    };
    const words =
      "They are signed out at once, on every device, and cannot sign in until you restore them. " +
      "Messages that others send them are kept.";
    this.#confirm(new FormModal(`Suspend ${name}?`, `Suspend ${name}`, [field], save, question(account, words)));
  }

  /** @param {AccountDetails} account */
  #signOut(account) {
    const name = displayName(account);
    const save = async () => {
      await this.#frame.api.signOutEverywhere(account.user_id);
      this.#done(`${name} is signed out everywhere.`);
    };
    const count = account.sign_ins.length;
    const words =
      `${count === 1 ? "One sign-in ends" : `All ${number(count)} sign-ins end`} at once, with their sessions. ` +
      "They can sign in again with their password.";
    this.#confirm(new FormModal(`Sign ${name} out?`, "Sign out everywhere", [], save, question(account, words)));
  }

  /** @param {Account} account */
  #resetPassword(account) {
    const name = displayName(account);
    const save = async () => {
      const { token } = await this.#frame.api.resetPassword(account.user_id);
      const words = `With this link, ${name} sets a new password, once, within a day. Hand it over safely.`;
      showLink("Password reset", words, "reset", token);
    };
    const words =
      "You get a link for them. Their password and sign-ins stay valid until it is used. " +
      "An earlier link becomes invalid.";
    new FormModal(`Reset the password of ${name}?`, "Make the link", [], save, question(account, words)).open();
  }

  /** @param {Account} account */
  #delete(account) {
    const name = displayName(account);
    const field = {
      label: `Type ${account.name} to confirm`,
      name: "confirm",
      attributes: { autocomplete: "off", autocapitalize: "none", spellcheck: "false", required: true, autofocus: true },
    };
    const save = async (/** @type {Values} */ { confirm: typed = "" }) => {
      check({ confirm: typed.trim().toLowerCase() === account.name ? "" : "This is not the user name." });
      await this.#frame.api.deleteUser(account.user_id);
      location.hash = usersAddress("", ""); // which also reads the list again
      this.#frame.notify(`${name} is deleted.`);
    };
    const words =
      "This can’t be undone. They are signed out at once and their profile is erased. Their messages stay with the " +
      "people they wrote to, who see “Deleted account”. Nobody can use the user name again.";
    this.#confirm(new FormModal(`Delete ${name}?`, `Delete ${name}`, [field], save, question(account, words)));
  }

  /** @param {Account} account */
  async #restore(account) {
    this.#error = "";
    try {
      await this.#frame.api.restore(account.user_id);
      this.#done(`${displayName(account)} can sign in again.`);
    } catch (fault) {
      this.#error = explain(fault);
      this.#frame.root.invalidate();
    }
  }

  /** Opens the confirmation of a dangerous action. @param {FormModal} modal */
  #confirm(modal) {
    modal.element.classList.add("dangerous");
    modal.element.addEventListener("close", () => {
      // A refresh while the dialog was open may have removed the button that the browser gives the focus back to.
      if (document.activeElement === document.body) this.focusName();
    });
    modal.open();
  }

  /** One of the buttons had the focus: if it is gone, the name gets it. */
  #keepFocus() {
    if (!this.#acts?.contains(document.activeElement)) this.focusName();
  }

  /** @param {string} words */
  #done(words) {
    this.#frame.notify(words);
    void this.#frame.refresh();
  }
}

/** @param {Account} account */
export const accountLabels = ({ is_admin, suspended_at_ms }) => [
  is_admin && label("plain", "Admin"),
  suspended_at_ms !== null && label("danger", "Suspended"),
];

/** @param {Account} account @param {string} words */
function question(account, words) {
  const names = h("span", {}, h("strong", {}, displayName(account)), h("small", { class: "soft" }, `@${account.name}`));
  return [h("div", { class: "target" }, avatar(account), names), h("p", { class: "words" }, words)];
}

/** @param {Account} account */
const suspension = ({ suspended_at_ms, suspended_reason }) =>
  suspended_at_ms !== null && [
    h("strong", {}, `Suspended ${stamp(suspended_at_ms)}`),
    h("p", {}, suspended_reason),
  ];
