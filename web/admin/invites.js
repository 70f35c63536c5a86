// The invites: links with which people create accounts.

import { explain } from "../api.js";
import { textButton } from "../components/buttons.js";
import { emptyState } from "../components/empty.js";
import { check } from "../components/form.js";
import { FormModal } from "../components/modal.js";
import { h } from "../view.js";
import { texts } from "./languages/language.js";
import { showLink } from "./links.js";
import { card, Section } from "./section.js";
import { stamp } from "./summaries.js";
import { named, table } from "./table.js";

/** @import {Values} from "../components/form.js" */
/** @import {Column} from "./table.js" */
/** @import {Invite} from "./types.js" */

/** The server's limits of an invite. */
const MOST_ACCOUNTS = 10_000;
const MOST_DAYS = 365;

export class Invites extends Section {
  /** @type {Invite[]} */
  #invites = [];
  #error = "";
  /** @type {Column<Invite>[]} */
  #columns = [
    { label: texts.invites.invite, show: ({ invite_id }) => invite_id, kind: "code" },
    { label: texts.invites.by, show: ({ created_by }) => named(created_by) },
    { label: texts.invites.used, show: ({ uses, uses_left }) => texts.invites.usedOf(uses - uses_left, uses) },
    { label: texts.invites.until, show: ({ expires_at_ms }) => stamp(expires_at_ms), kind: "short" },
    { label: texts.invites.actions, show: ({ invite_id }) => this.#revokeButton(invite_id), kind: "acts" },
  ];

  /** @override */
  async load() {
    this.#invites = await this.frame.api.invites();
  }

  /** @override */
  content() {
    return card(
      texts.invites.invites,
      texts.invites.note,
      table(texts.invites.invites, this.#columns, this.#invites, ({ invite_id }) => invite_id),
      this.#invites.length === 0 &&
        emptyState(texts.invites.none, texts.invites.noneNote),
      h("p", { class: "note error", role: "alert" }, this.#error),
      h("div", { class: "buttons" }, textButton("primary", () => this.#create(), texts.invites.create)),
    );
  }

  #create() {
    const attributes = { type: "number", min: 1, required: true };
    const fields = [
      {
        ...{ label: texts.invites.accounts, name: "uses", value: "1", attributes },
        hint: texts.invites.accountsNote(MOST_ACCOUNTS),
      },
      {
        ...{ label: texts.invites.days, name: "days", value: "7", attributes },
        hint: texts.invites.daysNote(MOST_DAYS),
      },
    ];
    const save = async (/** @type {Values} */ { uses = "", days = "" }) => {
      check({ uses: problemOf(uses, MOST_ACCOUNTS), days: problemOf(days, MOST_DAYS) });
      const { token } = await this.frame.api.createInvite(Number(uses), Number(days));
      showLink(texts.invites.created, texts.invites.createdNote, "invite", token);
      void this.frame.refresh();
    };
    new FormModal(texts.invites.createTitle, texts.invites.createInvite, fields, save).open();
  }

  /** @param {string} invite_id */
  #revokeButton(invite_id) {
    const label = { class: "quiet", type: "button", "aria-label": texts.invites.revokeInvite(invite_id) };
    return h("button", { ...label, onclick: () => void this.#revoke(invite_id) }, texts.invites.revoke);
  }

  /** @param {string} invite_id */
  async #revoke(invite_id) {
    this.#error = "";
    try {
      await this.frame.api.revokeInvite(invite_id);
      this.frame.notify(texts.invites.isRevoked(invite_id));
    } catch (fault) {
      this.#error = explain(fault);
    }
    await this.frame.refresh();
  }
}

/** The problem of an input; empty for a whole number from 1 to `most`. @param {string} typed @param {number} most */
function problemOf(typed, most) {
  const isAllowed = /^\d+$/.test(typed) && Number(typed) >= 1 && Number(typed) <= most;
  return isAllowed ? "" : texts.invites.outOfRange(most);
}
