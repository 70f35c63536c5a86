// Applies the settings of the look to the page: sets the attributes by which tokens.css selects the colours and the
// text size, the colour of the browser's bars, and the format of times.

import { setTimeFormat } from "./format.js";
import { Settings } from "./stores/settings.js";
import { renderMemosAgain } from "./view.js";

/** Applies the settings now and at each change. @param {Settings} settings @param {HTMLElement} [root] of the page */
export function applyAppearance(settings, root = document.documentElement) {
  /** @type {NodeListOf<HTMLMetaElement>} the colours of the browser's bars, one for each scheme */
  const bars = root.querySelectorAll('meta[name="theme-color"]');
  const schemes = [...bars].map(({ media }) => media);
  let timeFormat = "system";
  const apply = () => {
    root.dataset["theme"] = settings.get("theme");
    root.dataset["textSize"] = settings.get("text_size");
    bars.forEach((bar, at) => (bar.media = mediaOf(schemes[at] ?? "", settings.get("theme"))));
    if (timeFormat === settings.get("time_format")) return;
    timeFormat = settings.get("time_format");
    setTimeFormat(timeFormat);
    renderMemosAgain();
  };
  settings.subscribe(apply);
  apply();
}

/** The media of the colour of a scheme; "none" is no medium. @param {string} scheme @param {string} theme */
const mediaOf = (scheme, theme) => (theme === "system" ? scheme : scheme.includes(theme) ? "all" : "none");
