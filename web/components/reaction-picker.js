// The grid of emoji to react with. The page has one, shown beside the message that opened it.

import { REACTIONS } from "../emoji.js";
import { moveFocus } from "../focus.js";
import { h, Root } from "../view.js";
import { placeBeside } from "./place.js";

/** Columns of the grid, the same as in styles/overlays.css. */
const COLUMNS = 7;

/** @type {(emoji: string) => void} */
let chosen = () => {};
/** @type {HTMLElement | null} */
let opener = null;
/** @type {HTMLElement | undefined} */
let picker;

const home = document.createElement("rookery-reactions");
const root = new Root(home, () => {
  const props = {
    ...{ class: "picker", role: "dialog", "aria-label": "React with", popover: "auto" },
    ref: (/** @type {HTMLElement} */ element) => void (picker = element),
    onkeydown: (/** @type {KeyboardEvent} */ event) => moveFocus(event, buttons(), COLUMNS),
    ontoggle: (/** @type {ToggleEvent} */ event) => event.newState === "closed" && setExpanded(false),
  };
  const choices = REACTIONS.map(([emoji, name]) =>
    h("button", { type: "button", "aria-label": name, title: name, onclick: () => choose(emoji) }, emoji),
  );
  return h("div", props, choices);
});

const buttons = () => /** @type {HTMLElement[]} */ ([...(picker?.children ?? [])]);

/** @param {string} emoji */
function choose(emoji) {
  picker?.hidePopover();
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
  if (!home.isConnected) document.body.append(home);
  [opener, chosen] = [button, done];
  root.render();
  if (!picker) return;
  picker.showPopover();
  placeBeside(picker, button);
  setExpanded(true);
  buttons()[0]?.focus();
}
