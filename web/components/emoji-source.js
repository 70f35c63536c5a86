// Offers emoji for a shortcode such as `:tada:` before the caret.

import { Catalogue, loadCatalogue } from "../emoji/catalogue.js";
import { choices, toned } from "../emoji/choices.js";
import { shortcodeAtEnd } from "../emoji/shortcodes.js";
import { texts } from "../languages/language.js";
import { h } from "../view.js";

/** @import {Emoji} from "../emoji/catalogue.js" */
/** @import {Choice, Offer} from "./completion.js" */

const MAX_SHOWN = 8;

export class EmojiSource {
  #loaded;
  /** @type {Catalogue | null} */
  #catalogue = null;

  /** @param {() => void} loaded called when there is an offer that there was not before */
  constructor(loaded) {
    this.#loaded = loaded;
  }

  /** @param {string} text before the caret @returns {Offer | null} */
  offer(text) {
    const written = shortcodeAtEnd(text);
    if (!written) return null;
    if (!this.#catalogue) {
      void this.#load();
      return null;
    }
    const { start, code, isClosed } = written;
    const complete = isClosed && this.#catalogue.coded(code);
    const found = isClosed ? [] : this.#catalogue.search(code).slice(0, MAX_SHOWN);
    return { label: texts.emoji, start, choices: found.map(choice), ...(complete && { complete: choice(complete) }) };
  }

  async #load() {
    try {
      this.#catalogue = await loadCatalogue();
    } catch {
      return; // the next shortcode loads it again
    }
    this.#loaded();
  }
}

/** @param {Emoji} emoji @returns {Choice} */
function choice(emoji) {
  const picture = h("span", { class: "picture" }, toned(emoji));
  const content = [picture, `:${emoji.codes[0]}:`];
  return { key: emoji.emoji, content, text: toned(emoji), chosen: () => choices.used(emoji.emoji) };
}
