// The picker of the usual reactions, with a button for all other emoji. The page has one, shown beside the message
// that opened it.

import { moveFocus } from "../focus.js";
import { choices } from "../emoji/choices.js";
import { REACTIONS } from "../emoji/quick.js";
import { withTone } from "../emoji/tones.js";
import { texts } from "../languages/language.js";
import { h, Root } from "../view.js";
import { iconButton } from "./buttons.js";
import { pickEmoji } from "./pick-emoji.js";
import { placeBeside, setExpanded } from "./popover-position.js";

/** @type {(emoji: string) => void} */
let chosen = () => {};
/** @type {HTMLElement | null} */
let opener = null;
/** @type {HTMLElement | undefined} */
let picker;

const home = document.createElement("rookery-reactions");
const root = new Root(home, () => {
  const props = {
    ...{ class: "picker", role: "dialog", "aria-label": texts.reaction.label, popover: "auto" },
    ref: (/** @type {HTMLElement} */ element) => void (picker = element),
    onkeydown: (/** @type {KeyboardEvent} */ event) => moveFocus(event, buttons(), buttons().length),
    ontoggle: (/** @type {ToggleEvent} */ event) => opener && event.newState === "closed" && setExpanded(opener, false),
  };
  return h(
    "div",
    props,
    REACTIONS.map(([emoji, nameOf]) => {
      const name = nameOf();
      const toned = withTone(emoji, choices.tone); // of the usual reactions, only the thumb has skin tones
      return h("button", { type: "button", "aria-label": name, title: name, onclick: () => choose(toned) }, toned);
    }),
    iconButton(texts.reaction.more, "more", showAll, { "aria-haspopup": "dialog" }),
  );
});

const buttons = () => /** @type {HTMLElement[]} */ ([...(picker?.children ?? [])]);

/** @param {string} emoji */
function choose(emoji) {
  picker?.hidePopover();
  opener?.focus({ preventScroll: true });
  chosen(emoji);
}

function showAll() {
  picker?.hidePopover();
  if (opener) void pickEmoji(opener, chosen);
}

/** Opens the picker. @param {HTMLElement} button that opened it @param {(emoji: string) => void} done */
export function pickReaction(button, done) {
  if (!home.isConnected) document.body.append(home);
  [opener, chosen] = [button, done];
  root.render();
  if (!picker) return;
  picker.showPopover();
  placeBeside(picker, button);
  setExpanded(button, true);
  buttons()[0]?.focus();
}
