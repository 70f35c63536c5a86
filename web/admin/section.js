// What the sections have in common: the faces of coming and of not having come, and being read again and again.

import { explain } from "../api.js";
import { textButton } from "../components/buttons.js";
import { failure } from "../components/empty.js";
import { Component, h, setText } from "../dom.js";
import { AdminApi } from "./api.js";
import { showOnce } from "./table.js";

/**
 * What a section needs of the frame around it.
 * @typedef {object} Frame
 * @property {AdminApi} api
 * @property {() => Promise<void>} refresh reads what is shown again, now
 * @property {(text: string) => void} say says how an act went, to eyes and ears
 */

export class Section extends Component {
  /** Whether it has shown anything yet. */
  ready = false;
  #face = h("div");
  content = h("div", { class: "content", hidden: true });

  /** @param {Frame} frame */
  constructor(frame) {
    super();
    this.frame = frame;
  }

  /** @override */
  connected() {
    this.className = "section-pane";
    this.#wait();
    this.replaceChildren(this.#face, this.content);
  }

  /** Reads and shows; throws what went wrong. @returns {Promise<void>} */
  async load() {}

  /** Follows the address within the section. @param {import("./figures.js").Place} _place */
  route(_place) {}

  /** Reads again. What was shown stays if that fails. */
  async refresh() {
    try {
      await this.load();
      this.ready = true;
      showOnce(this.#face, "", () => []);
      this.content.hidden = false;
    } catch (fault) {
      const words = explain(fault);
      if (!this.ready) showOnce(this.#face, words, () => [failure(words, () => void this.#retry())]);
      throw fault;
    }
  }

  #wait() {
    showOnce(this.#face, "waiting", () => [skeleton()]);
  }

  async #retry() {
    this.#wait();
    await this.frame.refresh();
  }
}

/** @param {string} title @param {string} text @param {...(Node | string)} content */
export function card(title, text, ...content) {
  const head = h("header", { class: "panel-head" }, h("h2", {}, title), h("p", { class: "soft" }, text));
  return h("section", { class: "panel" }, head, ...content);
}

/** A button that brings more, and says so when that fails. @param {string} words @param {() => Promise<void>} act */
export function moreButton(words, act) {
  const note = h("p", { class: "note error", role: "alert" });
  const button = textButton(
    "quiet",
    async () => {
      button.disabled = true;
      setText(note, "");
      try {
        await act();
      } catch (fault) {
        setText(note, explain(fault));
      } finally {
        button.disabled = false;
      }
    },
    words,
  );
  return h("div", { class: "more", hidden: true }, button, note);
}

function skeleton() {
  const lines = Array.from({ length: 5 }, () => h("span", { class: "skeleton line" }));
  const tiles = Array.from({ length: 4 }, () => h("span", { class: "skeleton tile" }));
  const parts = [h("div", { class: "tiles" }, ...tiles), h("div", { class: "panel lines" }, ...lines)];
  return h("div", { class: "content waiting", role: "status", "aria-label": "Loading" }, ...parts);
}
