// The invites: links with which people create accounts.

import { explain } from "../api.js";
import { textButton } from "../components/buttons.js";
import { emptyState } from "../components/empty.js";
import { FormModal } from "../components/modal.js";
import { h } from "../view.js";
import { number, stamp } from "./figures.js";
import { showLink } from "./links.js";
import { card, Section } from "./section.js";
import { named, table } from "./table.js";

/** @import {Values} from "../components/form.js" */
/** @import {Column} from "./table.js" */
/** @import {Invite} from "./types.js" */

export class Invites extends Section {
  /** @type {Invite[]} */
  #invites = [];
  #error = "";
  /** @type {Column<Invite>[]} */
  #columns = [
    { label: "Invite", show: ({ invite_id }) => invite_id, kind: "code" },
    { label: "By", show: ({ created_by }) => named(created_by) },
    { label: "Used", show: ({ uses, uses_left }) => `${number(uses - uses_left)} of ${number(uses)}` },
    { label: "Until", show: ({ expires_at_ms }) => stamp(expires_at_ms), kind: "short" },
    { label: "", show: ({ invite_id }) => textButton("quiet", () => void this.#revoke(invite_id), "Revoke") },
  ];

  /** @override */
  async load() {
    this.#invites = await this.frame.api.invites();
  }

  /** @override */
  content() {
    return card(
      "Invites",
      "Links with which people create accounts. The key “sign_up” decides whether they need one.",
      table("Invites", this.#columns, this.#invites, ({ invite_id }) => invite_id),
      this.#invites.length === 0 &&
        emptyState("No invites", "While sign-up is by invite, people need one to create an account."),
      h("p", { class: "note error", role: "alert" }, this.#error),
      h("div", { class: "buttons" }, textButton("primary", () => this.#create(), "Create an invite…")),
    );
  }

  #create() {
    const attributes = { type: "number", min: 1, required: true };
    const fields = [
      {
        ...{ label: "Accounts", name: "uses", value: "1", attributes },
        hint: "How many accounts can be created with it, at most 10,000.",
      },
      { ...{ label: "Days", name: "days", value: "7", attributes }, hint: "How long it is valid, at most 365 days." },
    ];
    const save = async (/** @type {Values} */ { uses, days }) => {
      const { token } = await this.frame.api.createInvite(Number(uses), Number(days));
      showLink("Invite", "Send this link to the people whom you invite.", "invite", token);
      void this.frame.refresh();
    };
    new FormModal("Create an invite", "Create invite", fields, save).open();
  }

  /** @param {string} invite_id */
  async #revoke(invite_id) {
    this.#error = "";
    try {
      await this.frame.api.revokeInvite(invite_id);
      this.frame.notify(`Invite ${invite_id} is revoked.`);
    } catch (fault) {
      this.#error = explain(fault);
    }
    await this.frame.refresh();
  }
}
