// The start of a user without chats: people to write to and, for admins, an invite to share.

import { explain } from "../api.js";
import { texts } from "../languages/language.js";
import { h, memo } from "../view.js";
import { textButton } from "./buttons.js";
import { failure, skeletonRows } from "./empty.js";
import { findGroups } from "./open-dialog.js";
import { personRow } from "./people-search.js";

/** @import {App} from "./app-shell.js" */
/** @import {Profile} from "../types.js" */

/** The most people that are shown. The search finds all other people with an account. */
const MAX_PEOPLE = 10;
/** The people are loaded again after this time: somebody may have created an account. */
const REFRESH_MS = 30_000;

export class Start {
  #app;
  #open;
  /** Null until the people are loaded. @type {Profile[] | null} */
  #people = null;
  #asked_ms = -Infinity;
  #failure = "";
  #isInviting = false;
  #inviteFailure = "";

  /** @param {App} app @param {(chat_id: string) => void} open */
  constructor(app, open) {
    this.#app = app;
    this.#open = open;
  }

  view() {
    if (Date.now() - this.#asked_ms >= REFRESH_MS) void this.#load();
    return h(
      "section",
      { class: "start", key: "start", "aria-labelledby": "start-title" },
      h("h2", { class: "section", id: "start-title" }, texts.start.title),
      h("div", { "aria-live": "polite" }, this.#list()),
      textButton("text-button wide", () => findGroups(this.#app), texts.chats.findGroups),
      this.#app.chats.me.is_admin && this.#invitation(),
    );
  }

  #list() {
    if (this.#failure) return memo("failed", [this.#failure], () => failure(this.#failure, () => void this.#load()));
    if (!this.#people) return memo("waiting", [], () => skeletonRows(3));
    if (!this.#people.length) return h("p", { class: "soft" }, texts.start.nobody);
    return this.#people.map((profile) => personRow(profile, this.#app.chats.me, this.#open));
  }

  #invitation() {
    const button = { class: "primary", type: "button", disabled: this.#isInviting, onclick: () => void this.#invite() };
    return [
      h("button", button, texts.start.invite),
      h("p", { class: "note error", role: "alert" }, this.#inviteFailure),
    ];
  }

  async #load() {
    this.#asked_ms = Date.now();
    this.#failure = "";
    try {
      const { profiles } = await this.#app.api.people(MAX_PEOPLE + 1);
      const others = profiles.filter(({ user_id }) => user_id !== this.#app.chats.me.user_id);
      this.#people = others.slice(0, MAX_PEOPLE);
    } catch (fault) {
      this.#failure = explain(fault);
    }
    this.#app.root.invalidate();
  }

  /** Creates an invite and shows its link. */
  async #invite() {
    this.#isInviting = true;
    this.#inviteFailure = "";
    this.#app.root.invalidate();
    try {
      const { invitePeople, useAdminLanguage } = await import("./invite.js");
      await useAdminLanguage(this.#app.settings.get("language"));
      await invitePeople(this.#app.api);
    } catch (fault) {
      this.#inviteFailure = explain(fault);
    }
    this.#isInviting = false;
    this.#app.root.invalidate();
  }
}
