// One user: the account, its sign-ins, and the actions to suspend, restore, sign out, reset the password and delete.

import { explain } from "../api.js";
import { avatar } from "../components/avatar.js";
import { emptyState } from "../components/empty.js";
import { check } from "../components/form.js";
import { FormModal } from "../components/modal.js";
import { displayName, fullTime } from "../format.js";
import { h } from "../view.js";
import { texts } from "./languages/language.js";
import { showLink } from "./links.js";
import { card } from "./section.js";
import { stamp, usersAddress } from "./summaries.js";
import { question, suspendDialog } from "./suspend.js";
import { label, table } from "./table.js";

/** @import {Values} from "../components/form.js" */
/** @import {Frame} from "./section.js" */
/** @import {Column} from "./table.js" */
/** @import {Account, AccountDetails, DeviceSignIn} from "./types.js" */

export class UserDetails {
  #frame;
  #error = "";
  /** @type {Column<DeviceSignIn>[]} */
  #columns = [
    { label: texts.user.device, show: ({ device_name }) => h("bdi", {}, device_name || texts.user.unnamed) },
    { label: texts.user.signedInSince, show: ({ created_at_ms }) => stamp(created_at_ms) },
  ];
  /** @type {HTMLElement | undefined} */
  #name;
  /** @type {HTMLElement | undefined} */
  #acts;

  /** @param {Frame} frame */
  constructor(frame) {
    this.#frame = frame;
  }

  /** Called before another user is shown. */
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
        texts.user.signIns,
        texts.user.signInsNote,
        table(texts.user.signIns, this.#columns, sign_ins, ({ family_id }) => family_id),
        sign_ins.length === 0 && noSignIns(account),
      ),
    );
  }

  /** @param {Account} account */
  #identity(account) {
    const { name, user_id, created_at_ms } = account;
    const heading = {
      ...{ dir: "auto", tabindex: -1 },
      ref: (/** @type {HTMLElement} */ element) => void (this.#name = element),
    };
    const since = texts.user.since(fullTime(created_at_ms));
    const time = h("time", { datetime: new Date(created_at_ms).toISOString() }, since);
    const words = [h("bdi", {}, `@${name}`), " · ", texts.user.id(user_id), h("br"), time];
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
        ? act("danger", texts.user.suspend, () => this.#suspend(account))
        : act("primary", texts.user.restore, () => void this.#restore(account), false),
      act("quiet", texts.user.signOut, () => this.#signOut(account), sign_ins.length === 0),
      act("quiet", texts.user.reset, () => this.#resetPassword(account)),
      act("danger", texts.user.delete, () => this.#delete(account)),
      is_admin && h("p", { class: "note" }, texts.user.adminNote),
    );
  }

  /** @param {Account} account */
  #suspend(account) {
    this.#confirm(suspendDialog(this.#frame, account));
  }

  /** @param {AccountDetails} account */
  #signOut(account) {
    const name = displayName(account);
    const save = async () => {
      await this.#frame.api.signOutEverywhere(account.user_id);
      this.#done(texts.user.isSignedOut(name));
    };
    const words = question(account, texts.user.signOutNote(account.sign_ins.length));
    this.#confirm(new FormModal(texts.user.signOutTitle(name), texts.user.signOutEverywhere, [], save, words));
  }

  /** @param {Account} account */
  #resetPassword(account) {
    const name = displayName(account);
    const save = async () => {
      const { token } = await this.#frame.api.resetPassword(account.user_id);
      showLink(texts.user.resetLink, texts.user.resetLinkNote(name), "reset", token);
    };
    const words = question(account, texts.user.resetNote);
    new FormModal(texts.user.resetTitle(name), texts.user.makeLink, [], save, words).open();
  }

  /** @param {Account} account */
  #delete(account) {
    const name = displayName(account);
    const field = {
      label: texts.user.confirm(account.name),
      name: "confirm",
      attributes: {
        ...{ autocomplete: "off", autocapitalize: "none", spellcheck: "false", dir: "ltr" },
        ...{ required: true, autofocus: true },
      },
    };
    const save = async (/** @type {Values} */ { confirm: typed = "" }) => {
      check({ confirm: typed.trim().toLowerCase() === account.name ? "" : texts.user.confirmWrong });
      await this.#frame.api.deleteUser(account.user_id);
      location.hash = usersAddress("", ""); // which also reads the list again
      this.#frame.notify(texts.user.isDeleted(name));
    };
    const words = question(account, texts.user.deleteNote);
    this.#confirm(new FormModal(texts.user.deleteTitle(name), texts.user.deleteName(name), [field], save, words));
  }

  /** @param {Account} account */
  async #restore(account) {
    this.#error = "";
    try {
      await this.#frame.api.restore(account.user_id);
      this.#done(texts.user.isRestored(displayName(account)));
    } catch (fault) {
      this.#error = explain(fault);
      this.#frame.root.invalidate();
    }
  }

  /** Opens the confirmation of a dangerous action. @param {FormModal} modal */
  #confirm(modal) {
    modal.element.classList.add("dangerous");
    modal.element.addEventListener("close", () => {
      // A refresh while the dialog was open may have removed the button to which the browser returns the focus.
      if (document.activeElement === document.body) this.focusName();
    });
    modal.open();
  }

  /** Moves the focus to the name if the button with the focus was removed. */
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
  is_admin && label("plain", texts.user.admin),
  suspended_at_ms !== null && label("danger", texts.user.suspended),
];

/** @param {Account} account that is signed in nowhere */
const noSignIns = ({ suspended_at_ms }) =>
  suspended_at_ms === null
    ? emptyState(texts.user.noSignIns, texts.user.noSignInsNote)
    : emptyState(texts.user.suspended, texts.user.suspendedNote);

/** @param {Account} account */
const suspension = ({ suspended_at_ms, suspended_reason }) =>
  suspended_at_ms !== null && [
    h("strong", {}, texts.user.suspendedAt(stamp(suspended_at_ms))),
    h("p", { dir: "auto" }, suspended_reason),
  ];
