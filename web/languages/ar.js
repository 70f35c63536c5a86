// Arabic.

import { intl } from "./intl.js";

/** @import {Texts} from "./language.js" */

const { plural, number } = intl("ar");

/** @type {Texts} */
export const ar = {
  day: { today: "اليوم", yesterday: "أمس" },
  deletedAccount: "حساب محذوف",
  unsentAtSignOut: (count) =>
    plural(count, {
      one: "لم تُرسَل رسالة واحدة بعد وستُفقد. هل تريد تسجيل الخروج؟",
      two: "لم تُرسَل رسالتان بعد وستُفقدان. هل تريد تسجيل الخروج؟",
      few: `لم تُرسَل ${number(count)} رسائل بعد وستُفقد. هل تريد تسجيل الخروج؟`,
      other: `لم تُرسَل ${number(count)} رسالة بعد وستُفقد. هل تريد تسجيل الخروج؟`,
    }),
};
