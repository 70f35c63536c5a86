// The texts of dialogs, apart from those of the first load, which is limited: a dialog that imports them waits for the
// catalogue of the language in use.

import { en } from "./dialogs/en.js";
import { code } from "./language.js";

/** @import {Code} from "./language.js" */
/** @typedef {typeof en} DialogTexts */

/** @type {Record<Code, () => Promise<DialogTexts>>} */
export const CATALOGUES = {
  en: async () => en,
  de: async () => (await import("./dialogs/de.js")).de,
  ar: async () => (await import("./dialogs/ar.js")).ar,
};

/** In English if the catalogue can't be loaded. @type {DialogTexts} */
export const dialogTexts = await CATALOGUES[code]().catch(() => en);
