// The menu of a message. The open chat has one, shown beside the message that opened it.

import { copyText } from "../clipboard.js";
import { texts } from "../languages/language.js";
import { messageAddress } from "../links.js";
import { h, Root } from "../view.js";
import { placeBeside, setExpanded } from "./place.js";

/** @import {App} from "./app-shell.js" */
/** @import {Message} from "../types.js" */

/** @type {HTMLElement | null} */
let opener = null;
let copy = () => {};
/** @type {HTMLElement | undefined} */
let menu;

const home = document.createElement("rookery-message-menu");
const root = new Root(home, () => {
  const props = {
    ...{ class: "menu", role: "menu", "aria-label": texts.message.label, popover: "auto" },
    ref: (/** @type {HTMLElement} */ element) => void (menu = element),
    ontoggle: (/** @type {ToggleEvent} */ event) => opener && setExpanded(opener, event.newState === "open"),
  };
  const item = { type: "button", role: "menuitem", autofocus: true, onclick: () => copy() };
  return h("div", props, h("button", item, texts.message.copyLink));
});

/** Opens the menu. @param {App} app @param {Message} message @param {HTMLElement} button that opened it */
export function openMessageMenu(app, { chat_id, message_id }, button) {
  if (!home.isConnected) button.closest("rookery-chat")?.append(home); // in the landmark of the message
  opener = button;
  copy = async () => {
    menu?.hidePopover();
    const isCopied = await copyText(messageAddress(chat_id, message_id));
    app.say(isCopied ? texts.message.linkCopied : texts.message.notCopied);
  };
  root.render();
  menu?.showPopover();
  if (menu) placeBeside(menu, button);
}
