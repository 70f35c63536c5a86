// Opens the picker of all emoji, whose modules are loaded when it is first opened.

import { texts } from "../languages/language.js";
import { Root } from "../view.js";
import { failure } from "./empty.js";
import { placeBeside, setExpanded } from "./popover-position.js";

/** @param {HTMLElement} opener @param {(emoji: string) => void} done receives the chosen emoji */
export async function pickEmoji(opener, done) {
  let picker;
  try {
    picker = await import("./emoji-picker.js");
  } catch {
    return showFailure(opener, () => void pickEmoji(opener, done));
  }
  picker.pickEmoji(opener, done);
}

/** Shows in place of the picker that it could not be loaded. @param {HTMLElement} opener @param {() => void} retry */
function showFailure(opener, retry) {
  const element = document.createElement("div");
  const props = { role: "dialog", "aria-label": texts.emoji, popover: "auto" };
  for (const [name, value] of Object.entries(props)) element.setAttribute(name, value);
  element.addEventListener("toggle", (event) => {
    const isOpen = /** @type {ToggleEvent} */ (event).newState === "open";
    setExpanded(opener, isOpen);
    if (!isOpen) element.remove();
  });
  const again = () => {
    element.hidePopover();
    retry();
  };
  new Root(element, () => failure(texts.reaction.notLoaded, again)).render();
  document.body.append(element);
  element.showPopover();
  placeBeside(element, opener);
  element.querySelector("button")?.focus();
}
