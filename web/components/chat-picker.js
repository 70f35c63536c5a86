// Chooses several chats, or people by their direct chats: the search, recent chats, and the chosen ones as buttons that
// take the choice back.

import { moveFocus } from "../focus.js";
import { icon } from "../icons.js";
import { isForInputMethod } from "../keys.js";
import { h, memo } from "../view.js";
import { Modal } from "./modal.js";
import { PeopleSearch } from "./people-search.js";
import { searchBox } from "./search-box.js";

/** @import {App} from "./app-shell.js" */
/** @import {Profile} from "../types.js" */

/** Shown recent chats; the search finds all others. */
const MAX_RECENT = 20;

/**
 * @typedef {object} Words
 * @property {string} search
 * @property {string} chosen the name of the group of chosen chats
 * @property {(name: string) => string} remove the label of a chosen chat
 * @property {(count: number) => string} most no more can be chosen
 * @property {string} recent
 */

export class ChatPicker {
  #app;
  #modal;
  #words;
  #most;
  #isListed;
  #search;
  /** In order of choice. @type {Set<string>} */
  #chosen = new Set();
  /** @type {HTMLInputElement | undefined} */
  #input;

  /**
   * @param {Pick<App, "api" | "chats">} app
   * @param {Modal} modal that shows it
   * @param {Words} words
   * @param {() => number} most chats that can be chosen
   * @param {(profile: Profile) => boolean} [isListed] if only these people can be chosen, and no groups
   */
  constructor({ api, chats }, modal, words, most, isListed) {
    this.#app = { api, chats };
    this.#modal = modal;
    this.#words = words;
    this.#most = most;
    this.#isListed = isListed;
    const toggle = (/** @type {string} */ chat_id) => this.#toggle(chat_id);
    this.#search = new PeopleSearch({ api, chats, root: modal.root }, toggle, (chat_id) => this.#chosen.has(chat_id), isListed);
  }

  /** The chosen chats that can still be chosen, in order of choice. */
  get chosen() {
    const { chats } = this.#app;
    const isListed = (/** @type {string} */ chat_id) => {
      const profile = chats.partner(chat_id);
      return !this.#isListed || (profile !== undefined && this.#isListed(profile));
    };
    return [...this.#chosen].filter(isListed);
  }

  /** Moves the focus to the search. */
  focus() {
    this.#input?.focus();
  }

  /** @param {{autofocus?: boolean}} [props] of the search field */
  view(props = {}) {
    const { chosen } = this;
    const most = this.#most();
    const search = {
      ...props,
      ref: (/** @type {HTMLInputElement} */ element) => void (this.#input = element),
      oninput: () => this.#search.find(this.#input?.value.trim() ?? ""),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#keyPressed(event),
    };
    return [
      searchBox(this.#words.search, search),
      this.#chips(chosen),
      h("p", { class: "note", role: "status", key: "most" }, chosen.length >= most && this.#words.most(most)),
      h("div", { class: "targets", key: "targets" }, this.#search.view(), !this.#search.text && this.#recent()),
    ];
  }

  /** @param {readonly string[]} chosen */
  #chips(chosen) {
    const chip = (/** @type {string} */ chat_id) => {
      const name = this.#app.chats.titleOf(chat_id);
      const label = this.#words.remove(name);
      const props = { class: "chip", type: "button", "aria-label": label, title: label };
      const remove = () => {
        this.#toggle(chat_id);
        this.focus(); // the chip that has the focus goes away
      };
      return memo(chat_id, [name], () => h("button", { ...props, onclick: remove }, h("bdi", {}, name), icon("close")));
    };
    const props = { class: "chips", role: "group", "aria-label": this.#words.chosen, key: "chips" };
    return h("div", { ...props, hidden: !chosen.length }, chosen.map(chip));
  }

  #recent() {
    const recent = this.#search.usable(this.#app.chats.all).slice(0, MAX_RECENT);
    const props = {
      ...{ class: "scroller", key: "recent" },
      onkeydown: (/** @type {KeyboardEvent} */ event) => moveFocus(event, this.#rows()),
    };
    return h("div", props, recent.length > 0 && h("h3", { class: "section" }, this.#words.recent), this.#search.rows(recent));
  }

  /** @param {string} chat_id */
  #toggle(chat_id) {
    const { element, root } = this.#modal;
    if (!this.#chosen.delete(chat_id) && this.chosen.length < this.#most()) {
      this.#chosen.add(chat_id);
      root.after(() => element.querySelector(".chip:last-child")?.scrollIntoView({ block: "nearest" }));
    }
    root.invalidate();
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    if (isForInputMethod(event)) return;
    if (event.key === "ArrowDown") {
      event.preventDefault();
      this.#rows()[0]?.focus();
    } else if (event.key === "Enter") {
      event.preventDefault(); // or the key sends the form around it
      if (this.#search.text) this.#search.chooseFirst();
      this.#input?.select(); // the next name follows
    }
  }

  /** The rows of the shown list. */
  #rows() {
    const rows = this.#modal.element.querySelectorAll(".scroller:not([hidden]) button.row");
    return /** @type {HTMLElement[]} */ ([...rows]);
  }
}
