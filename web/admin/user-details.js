// One user: the account, its sign-ins, and the actions to suspend, restore, sign out, reset the password and delete.

import { explain } from "../api.js";
import { avatar, showAvatar } from "../components/avatar.js";
import { textButton } from "../components/buttons.js";
import { emptyState } from "../components/empty.js";
import { field, showProblems } from "../components/field.js";
import { FormModal } from "../components/modal.js";
import { h, setText } from "../dom.js";
import { displayName, fullTime } from "../format.js";
import { number, stamp, usersAddress } from "./figures.js";
import { showLink } from "./links.js";
import { card } from "./section.js";
import { label, showOnce, Table } from "./table.js";

/** @import {Frame} from "./section.js" */
/** @import {Account, AccountDetails, DeviceSignIn} from "./types.js" */

export class UserDetails extends HTMLElement {
  #frame;
  #avatar = avatar();
  #name = h("h2", { tabindex: -1 });
  #labels = h("span", { class: "labels" });
  #facts = h("p", { class: "soft facts" });
  #suspension = h("div", { class: "suspension" });
  #acts = h("div", { class: "buttons" });
  #error = h("p", { class: "note error", role: "alert" });
  #table = new Table(
    "Sign-ins",
    /** @type {import("./table.js").Column<DeviceSignIn>[]} */ ([
      { label: "Device", text: ({ device_name }) => device_name || "not named" },
      { label: "Since", text: ({ created_at_ms }) => stamp(created_at_ms) },
    ]),
    ({ family_id }) => family_id,
  );
  #nowhere = emptyState("Not signed in", "Unless suspended, the user can sign in at any time.");
  /** @type {AccountDetails | null} */
  #account = null;

  /** @param {Frame} frame */
  constructor(frame) {
    super();
    this.#frame = frame;
    const head = h("div", { class: "identity" }, this.#avatar, h("div", {}, this.#name, this.#labels, this.#facts));
    const account = h("section", { class: "panel" }, head, this.#suspension, this.#acts, this.#error);
    const signIns = card("Sign-ins", "Ending a sign-in ends its session.", this.#table.element, this.#nowhere);
    this.append(account, signIns);
  }

  /** Clears the shown user. */
  clear() {
    this.#account = null;
    setText(this.#error, "");
  }

  focusName() {
    this.#name.focus();
  }

  /** @param {AccountDetails} account */
  show(account) {
    this.#account = account;
    showAvatar(this.#avatar, account);
    setText(this.#name, displayName(account));
    const { user_id, suspended_at_ms, suspended_reason, is_admin, sign_ins } = account;
    showOnce(this.#labels, [is_admin, suspended_at_ms], () => accountLabels(account));
    showOnce(this.#facts, [account.name, user_id, account.created_at_ms], () => facts(account));
    showOnce(this.#suspension, [suspended_at_ms, suspended_reason], () => suspension(account));
    const hadFocus = this.#acts.contains(document.activeElement);
    showOnce(this.#acts, [user_id, is_admin, suspended_at_ms !== null, sign_ins.length > 0], () =>
      this.#buttons(account),
    );
    if (hadFocus && !this.#acts.contains(document.activeElement)) this.focusName();
    this.#table.show(sign_ins);
    this.#table.element.hidden = sign_ins.length === 0;
    this.#nowhere.hidden = sign_ins.length > 0;
  }

  /** @param {AccountDetails} account */
  #buttons({ is_admin, suspended_at_ms, sign_ins }) {
    const suspend = textButton("danger", () => this.#suspend(), "Suspend…");
    suspend.disabled = is_admin;
    const restore = textButton("primary", () => void this.#restore(), "Restore");
    const signOut = textButton("quiet", () => this.#signOut(), "Sign out everywhere…");
    signOut.disabled = sign_ins.length === 0;
    const reset = textButton("quiet", () => this.#resetPassword(), "Reset password…");
    const remove = textButton("danger", () => this.#delete(), "Delete…");
    reset.disabled = remove.disabled = is_admin;
    const why =
      "An admin can’t be suspended or deleted, nor their password be reset here. " +
      "Revoke the admin role first, on the server, with “rookery user admin”.";
    return [
      suspended_at_ms === null ? suspend : restore,
      signOut,
      reset,
      remove,
      ...(is_admin ? [h("p", { class: "note" }, why)] : []),
    ];
  }

  #suspend() {
    const account = this.#account;
    if (!account) return;
    const name = displayName(account);
    const reason = field({
      label: "Reason",
      name: "reason",
      hint: "Recorded in the audit log.",
      attributes: { maxlength: 200, autocomplete: "off", required: true, autofocus: true },
    });
    const save = async () => {
      const text = reason.input.value.trim();
      if (showProblems([reason], { reason: text ? "" : "Enter a reason for the audit log." }))
        return false;
      await this.#frame.api.suspend(account.user_id, text);
      this.#done(`${name} is suspended and signed out everywhere.`);
      return true;
    };
    const words =
      "They are signed out at once, on every device, and cannot sign in until you restore them. " +
      "Messages that others send them are kept.";
    this.#confirm(new FormModal(`Suspend ${name}?`, `Suspend ${name}`, [reason], save, ...question(account, words)));
  }

  #signOut() {
    const account = this.#account;
    if (!account) return;
    const name = displayName(account);
    const save = async () => {
      await this.#frame.api.signOutEverywhere(account.user_id);
      this.#done(`${name} is signed out everywhere.`);
    };
    const count = account.sign_ins.length;
    const words =
      `${count === 1 ? "One sign-in ends" : `All ${number(count)} sign-ins end`} at once, with their sessions. ` +
      "They can sign in again with their password.";
    this.#confirm(new FormModal(`Sign ${name} out?`, "Sign out everywhere", [], save, ...question(account, words)));
  }

  #resetPassword() {
    const account = this.#account;
    if (!account) return;
    const name = displayName(account);
    const save = async () => {
      const { token } = await this.#frame.api.resetPassword(account.user_id);
      const words = `With this link, ${name} sets a new password, once, within a day. Hand it over safely.`;
      showLink("Password reset", words, "reset", token);
    };
    const words =
      "You get a link for them. Their password and sign-ins stay valid until it is used. An earlier link becomes invalid.";
    new FormModal(`Reset the password of ${name}?`, "Make the link", [], save, ...question(account, words)).open();
  }

  #delete() {
    const account = this.#account;
    if (!account) return;
    const name = displayName(account);
    const typed = field({
      label: `Type ${account.name} to confirm`,
      name: "confirm",
      attributes: { autocomplete: "off", autocapitalize: "none", spellcheck: "false", required: true, autofocus: true },
    });
    const save = async () => {
      const confirmed = typed.input.value.trim().toLowerCase() === account.name;
      if (showProblems([typed], { confirm: confirmed ? "" : "This is not the user name." })) return false;
      await this.#frame.api.deleteUser(account.user_id);
      location.hash = usersAddress("", ""); // which also reads the list again
      this.#frame.notify(`${name} is deleted.`);
      return true;
    };
    const words =
      "This can’t be undone. They are signed out at once and their profile is erased. Their messages stay with the " +
      "people they wrote to, who see “Deleted account”. Nobody can use the user name again.";
    this.#confirm(new FormModal(`Delete ${name}?`, `Delete ${name}`, [typed], save, ...question(account, words)));
  }

  async #restore() {
    const account = this.#account;
    if (!account) return;
    setText(this.#error, "");
    try {
      await this.#frame.api.restore(account.user_id);
      this.#done(`${displayName(account)} can sign in again.`);
    } catch (fault) {
      setText(this.#error, explain(fault));
    }
  }

  /** Opens the confirmation of a dangerous action. @param {FormModal} modal */
  #confirm(modal) {
    modal.element.classList.add("dangerous");
    modal.element.addEventListener("close", () => {
      // A refresh while the dialog was open may have replaced the button that the browser gives the focus back to.
      if (document.activeElement === document.body) this.focusName();
    });
    modal.open();
  }

  /** @param {string} words */
  #done(words) {
    this.#frame.notify(words);
    void this.#frame.refresh();
  }
}

/** @param {Account} account */
export function accountLabels({ is_admin, suspended_at_ms }) {
  return [
    ...(is_admin ? [label("plain", "Admin")] : []),
    ...(suspended_at_ms === null ? [] : [label("danger", "Suspended")]),
  ];
}

/** @param {Account} account @param {string} words */
function question(account, words) {
  const picture = avatar();
  showAvatar(picture, account);
  const names = h("span", {}, h("strong", {}, displayName(account)), h("small", { class: "soft" }, `@${account.name}`));
  return [h("div", { class: "target" }, picture, names), h("p", { class: "words" }, words)];
}

/** @param {Account} account */
function facts({ name, user_id, created_at_ms }) {
  const since = h("time", { datetime: new Date(created_at_ms).toISOString() }, fullTime(created_at_ms));
  return [`@${name} · id `, h("span", { class: "code" }, user_id), h("br"), "since ", since];
}

/** @param {Account} account */
function suspension({ suspended_at_ms, suspended_reason }) {
  if (suspended_at_ms === null) return [];
  return [h("strong", {}, `Suspended ${stamp(suspended_at_ms)}`), h("p", {}, suspended_reason)];
}

customElements.define("rookery-admin-user", UserDetails);
