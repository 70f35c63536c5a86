// German.

import { intl } from "./intl.js";

/** @import {Texts} from "./language.js" */

const { plural, number } = intl("de");

/** @type {Texts} */
export const de = {
  day: { today: "Heute", yesterday: "Gestern" },
  deletedAccount: "Gelöschtes Konto",
  unsentAtSignOut: (count) =>
    plural(count, {
      one: "Eine Nachricht ist noch nicht gesendet und geht verloren. Abmelden?",
      other: `${number(count)} Nachrichten sind noch nicht gesendet und gehen verloren. Abmelden?`,
    }),
};
