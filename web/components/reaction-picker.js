// The grid of emoji to react with. The page has one, shown beside the message that opened it.

import { h } from "../dom.js";
import { moveFocus } from "../focus.js";
import { REACTIONS } from "../emoji.js";
import { placeBeside } from "./place.js";

/** Columns of the grid, the same as in styles/overlays.css. */
const COLUMNS = 7;

/** @type {(emoji: string) => void} */
let chosen = () => {};
/** @type {HTMLElement | null} */
let opener = null;

const buttons = REACTIONS.map(([emoji, name]) => {
  return h("button", { type: "button", "aria-label": name, title: name, onclick: () => choose(emoji) }, emoji);
});
const picker = h("div", { class: "picker", role: "dialog", "aria-label": "React with", popover: "auto" }, ...buttons);
picker.addEventListener("keydown", (event) => moveFocus(event, buttons, COLUMNS));
picker.addEventListener("toggle", (event) => {
  if (/** @type {ToggleEvent} */ (event).newState === "closed") setExpanded(false);
});

/** @param {string} emoji */
function choose(emoji) {
  picker.hidePopover();
  opener?.focus({ preventScroll: true });
  chosen(emoji);
}

/** The opener stays visible while the picker is open. @param {boolean} isExpanded */
function setExpanded(isExpanded) {
  opener?.setAttribute("aria-expanded", String(isExpanded));
  opener?.parentElement?.classList.toggle("held", isExpanded);
}

/** Opens the picker. @param {HTMLElement} button that opened it @param {(emoji: string) => void} done */
export function pickReaction(button, done) {
  if (!picker.isConnected) document.body.append(picker);
  [opener, chosen] = [button, done];
  picker.showPopover();
  placeBeside(picker, button);
  setExpanded(true);
  buttons[0]?.focus();
}
