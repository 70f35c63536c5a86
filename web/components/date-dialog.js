// The dialog that shows the messages of a day.

import { dialogTexts } from "../languages/dialogs.js";
import { texts } from "../languages/language.js";
import { Invalid } from "./form.js";
import { FormModal } from "./modal.js";

export class DateDialog extends FormModal {
  /** @param {(day: Date) => void} go shows the beginning of a day */
  constructor(go) {
    const today = localDate(new Date());
    const attributes = { type: "date", max: today, required: true, autofocus: true };
    const date = { label: dialogTexts.dates.date, name: "date", value: today, attributes };
    super(texts.chat.goToDate, dialogTexts.dates.go, [date], async ({ date = "" }) => {
      const day = new Date(`${date}T00:00`);
      if (Number.isNaN(day.getTime())) throw new Invalid({ date: dialogTexts.dates.chooseDate });
      go(day);
    });
  }
}

/** The day in the format of a date field, such as 2026-11-28. @param {Date} day */
function localDate(day) {
  return [day.getFullYear(), day.getMonth() + 1, day.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
}
