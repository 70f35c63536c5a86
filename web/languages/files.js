// The texts of files in messages, apart from those of the first load, which is limited: a module that imports them waits
// for the catalogue of the language in use.

import { en } from "./files/en.js";
import { code } from "./language.js";

/** @import {Code} from "./language.js" */
/** @typedef {typeof en} FileTexts */

/** @type {Record<Code, () => Promise<FileTexts>>} */
export const FILE_CATALOGUES = {
  en: async () => en,
  de: async () => (await import("./files/de.js")).de,
  ar: async () => (await import("./files/ar.js")).ar,
};

/** In English if the catalogue can't be loaded. @type {FileTexts} */
export const fileTexts = await FILE_CATALOGUES[code]().catch(() => en);
