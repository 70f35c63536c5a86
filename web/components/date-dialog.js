// The dialog that leads to the messages of a day.

import { Invalid } from "./form.js";
import { FormModal } from "./modal.js";

export class DateDialog extends FormModal {
  /** @param {(day: Date) => void} go to the beginning of a day */
  constructor(go) {
    const today = localDate(new Date());
    const attributes = { type: "date", max: today, required: true, autofocus: true };
    const date = { label: "Date", name: "date", value: today, attributes };
    super("Go to a date", "Go", [date], async ({ date = "" }) => {
      const day = new Date(`${date}T00:00`);
      if (Number.isNaN(day.getTime())) throw new Invalid({ date: "Choose a date." });
      go(day);
    });
  }
}

/** The day as a date field has it, such as 2026-11-28. @param {Date} day */
function localDate(day) {
  return [day.getFullYear(), day.getMonth() + 1, day.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
}
