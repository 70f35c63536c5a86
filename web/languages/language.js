// The language of the page: chosen in the settings, or the first of the browser's languages with a catalogue.
//
// A catalogue has every text of the page as a whole sentence: a string, or a function of the values in it. `en.js`
// defines the texts; tsc compares the other catalogues with it.

import { en } from "./en.js";
import { base, localeOf } from "./intl.js";

/** @typedef {typeof en} Texts */

/** By code: the language's own name, and the function that loads its catalogue. */
export const LANGUAGES = {
  en: { name: "English", load: async () => en },
  de: { name: "Deutsch", load: async () => (await import("./de.js")).de },
  ar: { name: "العربية", load: async () => (await import("./ar.js")).ar },
};

/** @typedef {keyof typeof LANGUAGES} Code */

const RIGHT_TO_LEFT = new Set(["ar"]);

/** The texts of the language in use. @type {Texts} */
export let texts = en;

/** The language in use. @type {Code} */
export let code = "en";

/** The language in use, for Intl: with the region if the browser's languages include it, since dates depend on it. */
export let locale = "en";

/**
 * Uses a language from now on, English if its catalogue can't be loaded. main.js calls it before it shows anything, and
 * a change of the setting reloads the page.
 * @param {string} chosen a code of LANGUAGES; any other value, such as "", for the browser's language
 * @param {readonly string[]} [preferred] the browser's languages, best first
 * @returns {Promise<Code>} the language in use
 */
export async function useLanguage(chosen, preferred = navigator.languages) {
  code = isCode(chosen) ? chosen : (preferred.map(base).find(isCode) ?? "en");
  try {
    texts = await LANGUAGES[code].load();
  } catch {
    code = "en"; // the server is away, and the browser has not kept the catalogue
  }
  locale = localeOf(code, preferred);
  document.documentElement.lang = code;
  document.documentElement.dir = RIGHT_TO_LEFT.has(code) ? "rtl" : "ltr";
  return code;
}

/** @param {string} code @returns {code is Code} */
const isCode = (code) => Object.hasOwn(LANGUAGES, code);
