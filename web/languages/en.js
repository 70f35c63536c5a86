// English, and the list of all texts.

import { intl } from "./intl.js";

const { plural, number } = intl("en");

export const en = {
  day: { today: "Today", yesterday: "Yesterday" },
  deletedAccount: "Deleted account",
  unsentAtSignOut: (/** @type {number} */ count) =>
    plural(count, {
      one: "One message is not sent yet and will be lost. Sign out?",
      other: `${number(count)} messages are not sent yet and will be lost. Sign out?`,
    }),
};
