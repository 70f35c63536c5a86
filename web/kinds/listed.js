// The kinds by which a chat's messages are listed, such as pins. Members set and remove them in the menu of a message,
// which shows a sign of each; the chat's menu opens their lists.

import { newestOf } from "../changes.js";

/** @import {State} from "../changes.js" */

/** Their icons, in the order of menus and signs. Their texts are `texts.listed`. */
export const LISTED = /** @type {const} */ ({ pinned: "pin", starred: "star" });

/** @typedef {keyof typeof LISTED} ListedKind */

export const LISTED_KINDS = /** @type {ListedKind[]} */ (Object.keys(LISTED));

/** The event that set the kind, unless it was removed. @param {{changes: State}} message @param {ListedKind} kind */
export function setOf({ changes }, kind) {
  const event = newestOf(changes, kind);
  return event?.change[kind]?.set ? event : undefined;
}
