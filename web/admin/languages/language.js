// The language of the admin page: chosen as on the chat page, with catalogues of its own, which the chat page does not
// load. `en.js` lists all texts.

import { intl } from "../../languages/intl.js";
import { useLanguage } from "../../languages/language.js";
import { en } from "./en.js";

/** @import {Code} from "../../languages/language.js" */
/** @typedef {typeof en} Texts */

/** The catalogues, each of which is loaded when it is used. @type {Record<Code, () => Promise<Texts>>} */
export const CATALOGUES = {
  en: async () => en,
  de: async () => (await import("./de.js")).de,
  ar: async () => (await import("./ar.js")).ar,
};

/** The texts of the language in use. @type {Texts} */
export let texts = en;

/** Formats numbers and lists for this language. */
export let { number, list } = intl("en");

/** Uses a language from now on. @param {string} chosen a code; another, such as "system", for the browser's */
export async function useAdminLanguage(chosen) {
  const code = await useLanguage(chosen);
  texts = await CATALOGUES[code]();
  ({ number, list } = intl(code));
}
