// Explains that the server has refused a change. Loaded when that first happens.

import { dialogTexts } from "../languages/dialogs.js";

/** @import {Change} from "../wire.js" */

/** The text to show. @param {Change} change @param {string} reason */
export function refusedText(change, reason) {
  for (const [kind, sentence] of Object.entries(dialogTexts.refusedChange)) if (kind in change) return sentence(reason);
  return reason;
}
