// The base of the sections: the loading and failure placeholders, and periodic refresh.

import { explain } from "../api.js";
import { textButton } from "../components/buttons.js";
import { failure } from "../components/empty.js";
import { Component, h, setText } from "../dom.js";
import { AdminApi } from "./api.js";
import { showOnce } from "./table.js";

/**
 * The part of the admin shell that a section uses.
 * @typedef {object} Frame
 * @property {AdminApi} api
 * @property {() => Promise<void>} refresh reads the shown section again, now
 * @property {(text: string) => void} notify shows the result of an action and announces it to screen readers
 */

export class Section extends Component {
  /** Whether the section has loaded once. */
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

  /** Loads and shows the section; throws the fault if that fails. @returns {Promise<void>} */
  async load() {}

  /** Follows the address within the section. @param {import("./figures.js").Place} _place */
  route(_place) {}

  /** Loads again. The shown content stays if that fails. */
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

/** A button that loads more and shows a failure beside it. @param {string} words @param {() => Promise<void>} act */
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
