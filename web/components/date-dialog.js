// The dialog that leads to the messages of a day.

import { h } from "../dom.js";
import { Modal } from "./modal.js";

export class DateDialog extends Modal {
  /** @param {(day: Date) => void} go to the beginning of a day */
  constructor(go) {
    const today = localDate(new Date());
    const input = h("input", { type: "date", id: "go-to-date", max: today, required: true, autofocus: true });
    input.value = today;
    const label = h("label", { for: "go-to-date" }, "Date");
    const button = h("button", { class: "primary", type: "submit" }, "Go");
    const form = h("form", {}, h("div", { class: "field" }, label, input), button);
    super("Go to a date", form);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.close();
      go(new Date(`${input.value}T00:00`));
    });
  }
}

/** The day as a date field has it, such as 2026-11-28. @param {Date} day */
function localDate(day) {
  return [day.getFullYear(), day.getMonth() + 1, day.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
}
