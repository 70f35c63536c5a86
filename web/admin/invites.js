// The invites: links with which people create accounts.

import { textButton } from "../components/buttons.js";
import { emptyState } from "../components/empty.js";
import { field } from "../components/field.js";
import { FormModal } from "../components/modal.js";
import { explain } from "../api.js";
import { h, setText } from "../dom.js";
import { number, stamp } from "./figures.js";
import { showLink } from "./links.js";
import { card, Section } from "./section.js";
import { showNamed, showOnce, Table } from "./table.js";

/** @import {Invite} from "./types.js" */

export class Invites extends Section {
  #error = h("p", { class: "note error", role: "alert" });
  #none = emptyState("No invites", "While sign-up is by invite, people need one to create an account.");
  #table = new Table(
    "Invites",
    /** @type {import("./table.js").Column<Invite>[]} */ ([
      { label: "Invite", text: ({ invite_id }) => invite_id, kind: "code" },
      { label: "By", show: (cell, { created_by }) => showNamed(cell, created_by) },
      { label: "Used", text: ({ uses, uses_left }) => `${number(uses - uses_left)} of ${number(uses)}` },
      { label: "Until", text: ({ expires_at_ms }) => stamp(expires_at_ms), kind: "short" },
      { label: "", show: (cell, invite) => this.#showRevoke(cell, invite) },
    ]),
    ({ invite_id }) => invite_id,
  );

  /** @override */
  connected() {
    super.connected();
    const create = textButton("primary", () => this.#create(), "Create an invite…");
    const text = "Links with which people create accounts. The key “sign_up” decides whether they need one.";
    const buttons = h("div", { class: "buttons" }, create);
    this.content.replaceChildren(card("Invites", text, this.#table.element, this.#none, this.#error, buttons));
  }

  /** @override */
  async load() {
    const invites = await this.frame.api.invites();
    this.#table.show(invites);
    this.#table.element.hidden = invites.length === 0;
    this.#none.hidden = invites.length > 0;
  }

  #create() {
    const count = (/** @type {string} */ name, /** @type {string} */ label, /** @type {string} */ hint, value = "1") => {
      const one = field({ label, name, hint, attributes: { type: "number", min: 1, required: true } });
      one.input.value = value;
      return one;
    };
    const uses = count("uses", "Accounts", "How many accounts can be created with it, at most 10,000.");
    const days = count("days", "Days", "How long it is valid, at most 365 days.", "7");
    const save = async () => {
      const { token } = await this.frame.api.createInvite(Number(uses.input.value), Number(days.input.value));
      showLink("Invite", "Send this link to the people whom you invite.", "invite", token);
      void this.frame.refresh();
    };
    new FormModal("Create an invite", "Create invite", [uses, days], save).open();
  }

  /** @param {HTMLElement} cell @param {Invite} invite */
  #showRevoke(cell, { invite_id }) {
    showOnce(cell, invite_id, () => [textButton("quiet", () => void this.#revoke(invite_id), "Revoke")]);
  }

  /** @param {string} invite_id */
  async #revoke(invite_id) {
    setText(this.#error, "");
    try {
      await this.frame.api.revokeInvite(invite_id);
      this.frame.notify(`Invite ${invite_id} is revoked.`);
    } catch (fault) {
      setText(this.#error, explain(fault));
    }
    await this.frame.refresh();
  }
}

customElements.define("rookery-admin-invites", Invites);
