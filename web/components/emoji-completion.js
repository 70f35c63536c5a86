// Completes shortcodes such as `:tada:` in a text field: a list of emoji above the field while a shortcode is typed.
// The focus stays in the field.

import { Catalogue, loadCatalogue } from "../emoji/catalogue.js";
import { choices, toned } from "../emoji/choices.js";
import { shortcodeAtEnd } from "../emoji/shortcodes.js";
import { texts } from "../languages/language.js";
import { h, Root } from "../view.js";

/** @import {Emoji} from "../emoji/catalogue.js" */

const MAX_SHOWN = 8;
const LIST = "emoji-completion";

export class EmojiCompletion {
  #field;
  #root;
  /** @type {Catalogue | null} */
  #catalogue = null;
  /** @type {readonly Emoji[]} */
  #found = [];
  /** The index of the chosen emoji. */
  #at = 0;
  /** The start and the end of the shortcode in the text. */
  #start = 0;
  #end = 0;

  /** @param {HTMLTextAreaElement} field @param {Root} root renders the view */
  constructor(field, root) {
    this.#field = field;
    this.#root = root;
    field.addEventListener("compositionend", () => this.#look());
    field.addEventListener("blur", () => this.#close());
    for (const type of ["click", "keyup"])
      field.addEventListener(type, () => field.selectionStart !== this.#end && this.#close());
    // Keyboards of phones compose every word: the list then accepts taps, but uses no keys and replaces no text.
    field.addEventListener("input", (event) => this.#look(/** @type {InputEvent} */ (event).isComposing));
  }

  /** Attributes of the field, for screen readers. */
  get attributes() {
    if (this.#found.length === 0) return {};
    return { "aria-autocomplete": "list", "aria-controls": LIST, "aria-activedescendant": `${LIST}-${this.#at}` };
  }

  view() {
    if (this.#found.length === 0) return null;
    this.#root.after(() => document.getElementById(`${LIST}-${this.#at}`)?.scrollIntoView({ block: "nearest" }));
    return h(
      "div",
      { class: "completion", id: LIST, role: "listbox", "aria-label": texts.emoji, key: "completion" },
      this.#found.map((emoji, at) => this.#option(emoji, at)),
    );
  }

  /** @param {Emoji} emoji @param {number} at */
  #option(emoji, at) {
    const option = { role: "option", id: `${LIST}-${at}`, "aria-selected": String(at === this.#at) };
    const press = {
      onmousedown: (/** @type {Event} */ event) => event.preventDefault(), // the focus stays in the field
      onclick: () => this.#accept(emoji),
    };
    const picture = h("span", {}, toned(emoji));
    return h("div", { ...option, ...press, key: emoji.emoji }, picture, `:${emoji.codes[0]}:`);
  }

  /** Whether the list is open and has used the key. @param {KeyboardEvent} event */
  keyPressed(event) {
    const chosen = this.#found[this.#at];
    if (!chosen || isForInputMethod(event)) return false;
    if (event.shiftKey || event.ctrlKey || event.metaKey || event.altKey) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) this.#at = (this.#at + step + this.#found.length) % this.#found.length;
    else if (event.key === "Enter" || event.key === "Tab") this.#accept(chosen);
    else if (event.key === "Escape") this.#close();
    else return false;
    event.preventDefault();
    this.#root.invalidate();
    return true;
  }

  /** Looks for a shortcode before the caret. @param {boolean} [isComposing] */
  #look(isComposing = false) {
    const { value, selectionStart: end, selectionEnd } = this.#field;
    const written = end === selectionEnd ? shortcodeAtEnd(value.slice(0, end)) : null;
    if (!written) return this.#close();
    if (!this.#catalogue) return void this.#load();
    const { start, code, isClosed } = written;
    [this.#start, this.#end, this.#at] = [start, end, 0];
    const complete = isClosed && !isComposing && this.#catalogue.coded(code);
    if (complete) return this.#accept(complete);
    this.#found = isClosed ? [] : this.#catalogue.search(code).slice(0, MAX_SHOWN);
    this.#root.invalidate();
  }

  async #load() {
    try {
      this.#catalogue = await loadCatalogue();
    } catch {
      return; // the next shortcode loads it again
    }
    if (document.activeElement === this.#field) this.#look();
  }

  /** @param {Emoji} emoji */
  #accept(emoji) {
    const [start, end] = [this.#start, this.#end];
    this.#close();
    choices.used(emoji.emoji);
    this.#field.setSelectionRange(start, end);
    insert(this.#field, toned(emoji));
  }

  #close() {
    if (this.#found.length === 0) return;
    this.#found = [];
    this.#root.invalidate();
  }
}

/** Safari ends a composition before its final Enter, which has the keyCode 229. @param {KeyboardEvent} event */
const isForInputMethod = ({ isComposing, keyCode }) => isComposing || keyCode === 229;

/**
 * Replaces the selection by a text, as typing does: the person can undo it.
 * @param {HTMLTextAreaElement} field
 * @param {string} text
 */
export function insert(field, text) {
  field.focus();
  if (document.execCommand("insertText", false, text)) return;
  field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
  field.dispatchEvent(new InputEvent("input", { bubbles: true }));
}
