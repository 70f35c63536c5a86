// Applies the settings of the look to the page: sets the attributes by which tokens.css selects the colours and the
// text size, and the format of times.

import { setTimeFormat } from "./format.js";
import { Settings } from "./stores/settings.js";
import { renderMemosAgain } from "./view.js";

/** Applies the settings now and at each change. @param {Settings} settings @param {HTMLElement} [root] of the page */
export function applyAppearance(settings, root = document.documentElement) {
  let timeFormat = "system";
  const apply = () => {
    root.dataset["theme"] = settings.get("theme");
    root.dataset["textSize"] = settings.get("text_size");
    if (timeFormat === settings.get("time_format")) return;
    timeFormat = settings.get("time_format");
    setTimeFormat(timeFormat);
    renderMemosAgain();
  };
  settings.subscribe(apply);
  apply();
}
