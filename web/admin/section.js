// The base of the sections: the loading and failure placeholders, and periodic refresh.

import { explain } from "../api.js";
import { failure } from "../components/empty.js";
import { h, Root } from "../view.js";
import { AdminApi } from "./api.js";
import { texts } from "./languages/language.js";
import { Listing, Pages } from "./pages.js";

/** @import {Children} from "../view.js" */
/** @import {Place} from "./summaries.js" */

/**
 * The part of the admin shell that a section uses.
 * @typedef {object} Frame
 * @property {AdminApi} api
 * @property {Root} root
 * @property {() => Promise<void>} refresh reads the shown section again, now
 * @property {(text: string) => void} notify shows the result of an action and announces it to screen readers
 */

export class Section {
  /** Whether the section has loaded once. */
  isReady = false;
  /** The failure of the first load; empty if there is none. */
  #failure = "";

  /** @param {Frame} frame */
  constructor(frame) {
    this.frame = frame;
  }

  /** Loads the section; throws the fault of a failed request. @returns {Promise<void>} */
  async load() {}

  /** Shows the place of the address within the section. @param {Place} _place */
  route(_place) {}

  /** Called when another section replaces this one. */
  stop() {}

  /** The loaded section. @returns {Children} */
  content() {
    return null;
  }

  /** Loads again. The shown content stays if that fails. */
  async refresh() {
    try {
      await this.load();
      this.isReady = true;
    } catch (fault) {
      this.#failure = explain(fault);
      throw fault;
    } finally {
      this.frame.root.invalidate();
    }
  }

  view() {
    if (this.isReady) return h("div", { class: "content", key: "content" }, this.content());
    if (this.#failure) return h("div", { key: "failure" }, failure(this.#failure, () => void this.#retry()));
    return skeleton();
  }

  async #retry() {
    this.#failure = "";
    this.frame.root.invalidate();
    await this.frame.refresh();
  }
}

/** @param {Children} title @param {string} text @param {...Children} content */
export function card(title, text, ...content) {
  const head = h("header", { class: "panel-head" }, h("h2", {}, title), h("p", { class: "soft" }, text));
  return h("section", { class: "panel" }, head, ...content);
}

/** The button that loads the next older entries of a log or a listing, with its failure beside it. */
export class MoreButton {
  #root;
  #pages;
  #isBusy = false;
  #error = "";

  /** @param {Root} root @param {Pages<any> | Listing<any>} pages */
  constructor(root, pages) {
    this.#root = root;
    this.#pages = pages;
  }

  /** The button; nothing if there are no older entries. @param {string} words */
  view(words) {
    const button = { class: "quiet", type: "button", disabled: this.#isBusy, onclick: () => void this.#press() };
    return (
      this.#pages.next !== null &&
      h(
        "div",
        { class: "more", key: "more" },
        h("button", button, words),
        h("p", { class: "note error", role: "alert" }, this.#error),
      )
    );
  }

  async #press() {
    this.#isBusy = true;
    this.#error = "";
    this.#root.invalidate();
    try {
      await this.#pages.older();
    } catch (fault) {
      this.#error = explain(fault);
    } finally {
      this.#isBusy = false;
      this.#root.invalidate();
    }
  }
}

function skeleton() {
  const lines = Array.from({ length: 5 }, () => h("span", { class: "skeleton line" }));
  const tiles = Array.from({ length: 4 }, () => h("span", { class: "skeleton tile" }));
  return h(
    "div",
    { class: "content waiting", role: "status", "aria-label": texts.frame.loading, key: "waiting" },
    h("div", { class: "tiles" }, tiles),
    h("div", { class: "panel lines" }, lines),
  );
}
