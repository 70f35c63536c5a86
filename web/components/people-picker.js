// Chooses people for a group: the search, people of recent chats, and the chosen ones, which can be taken back.

import { displayName } from "../format.js";
import { moveFocus } from "../focus.js";
import { icon } from "../icons.js";
import { dialogTexts } from "../languages/dialogs.js";
import { h, memo } from "../view.js";
import { Modal } from "./modal.js";
import { PeopleSearch, personRow } from "./people-search.js";
import { searchBox } from "./search-box.js";

/** @import {App} from "./app-shell.js" */
/** @import {Profile} from "../types.js" */

/** Shown people of recent chats; the search finds all others. */
const MAX_RECENT = 20;

export class PeoplePicker {
  #app;
  #modal;
  #limits;
  #search;
  /** In order of choice. @type {Set<string>} */
  #chosen = new Set();
  /** @type {HTMLInputElement | undefined} */
  #input;

  /**
   * @param {Pick<App, "api" | "chats">} app
   * @param {Modal} modal that shows it
   * @param {object} limits
   * @param {() => number} limits.most people that can be chosen
   * @param {(user_id: string) => boolean} [limits.isOffered]
   */
  constructor(app, modal, { most, isOffered = () => true }) {
    this.#app = app;
    this.#modal = modal;
    this.#limits = { most, isOffered };
    const choose = (/** @type {string} */ chat_id) => this.#toggle(app.chats.otherOf(chat_id));
    const isChosen = (/** @type {string} */ chat_id) => this.#isChosen(chat_id);
    const isListed = (/** @type {Profile} */ profile) => this.#isOffered(profile);
    this.#search = new PeopleSearch({ api: app.api, chats: app.chats, root: modal.root }, choose, isChosen, isListed);
  }

  /** The chosen people who are still offered. */
  get chosen() {
    return [...this.#chosen].filter(this.#limits.isOffered);
  }

  focus() {
    this.#input?.focus();
  }

  view() {
    const most = this.#limits.most();
    const search = {
      ref: (/** @type {HTMLInputElement} */ element) => void (this.#input = element),
      oninput: () => this.#search.find(this.#input?.value.trim() ?? ""),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#keyPressed(event),
    };
    const isFull = this.chosen.length >= most;
    return [
      searchBox(dialogTexts.groupPeople.search, search),
      this.#chips(),
      h("p", { class: "note", role: "status", key: "most" }, isFull && dialogTexts.groupPeople.most(most)),
      h("div", { class: "targets", key: "targets" }, this.#search.view(), !this.#search.text && this.#recent()),
    ];
  }

  /** The chosen people; pressing one takes the choice back. */
  #chips() {
    const { profiles } = this.#app.chats;
    const chip = (/** @type {string} */ user_id) => {
      const profile = profiles.get(user_id);
      const name = profile ? displayName(profile) : "";
      const label = dialogTexts.groupPeople.remove(name);
      const props = { class: "chip", type: "button", "aria-label": label, title: label };
      const remove = () => {
        this.#toggle(user_id);
        this.focus(); // the chip that has the focus goes away
      };
      return memo(user_id, [name], () => h("button", { ...props, onclick: remove }, h("bdi", {}, name), icon("close")));
    };
    const { chosen } = this;
    const props = { class: "chips", role: "group", "aria-label": dialogTexts.groupPeople.chosen, key: "chips" };
    return h("div", { ...props, hidden: !chosen.length }, chosen.map(chip));
  }

  #recent() {
    const { chats } = this.#app;
    const partners = chats.all.flatMap(({ chat_id }) => chats.partner(chat_id) ?? []);
    const offered = partners.filter((profile) => this.#isOffered(profile)).slice(0, MAX_RECENT);
    const choose = (/** @type {string} */ chat_id) => this.#toggle(chats.otherOf(chat_id));
    const isChosen = (/** @type {string} */ chat_id) => this.#isChosen(chat_id);
    return h(
      "div",
      {
        ...{ class: "scroller", key: "recent" },
        onkeydown: (/** @type {KeyboardEvent} */ event) => moveFocus(event, this.#rows()),
      },
      offered.length > 0 && h("h3", { class: "section" }, dialogTexts.groupPeople.recent),
      offered.map((profile) => personRow(profile, chats.me, choose, isChosen)),
    );
  }

  /** @param {string} chat_id */
  #isChosen(chat_id) {
    return this.#chosen.has(this.#app.chats.otherOf(chat_id));
  }

  /** @param {Profile} profile */
  #isOffered({ user_id, deleted }) {
    return !deleted && this.#limits.isOffered(user_id);
  }

  /** @param {string} user_id */
  #toggle(user_id) {
    if (!this.#chosen.delete(user_id) && this.chosen.length < this.#limits.most()) {
      this.#chosen.add(user_id);
      this.#modal.root.after(() => this.#modal.element.querySelector(".chip:last-child")?.scrollIntoView({ block: "nearest" }));
    }
    this.#modal.root.invalidate();
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    if (event.key === "ArrowDown") {
      event.preventDefault();
      this.#rows()[0]?.focus();
    } else if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault(); // or the key sends the form
      if (this.#search.text) this.#search.chooseFirst();
      this.#input?.select(); // the next person follows
    }
  }

  /** The rows of the shown list. */
  #rows() {
    const rows = this.#modal.element.querySelectorAll(".scroller:not([hidden]) button.row");
    return /** @type {HTMLElement[]} */ ([...rows]);
  }
}
