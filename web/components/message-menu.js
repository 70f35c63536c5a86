// The menu of a message. The page has one, shown beside the message that opened it.

import { copyText } from "../clipboard.js";
import { moveFocus } from "../dom.js";
import { messageAddress } from "../links.js";
import { h, Root } from "../view.js";
import { placeBeside } from "./place.js";

/** @import {App} from "./app-shell.js" */
/** @import {Message} from "../types.js" */

const menu = document.createElement("div");
menu.className = "menu";
menu.popover = "auto";
menu.setAttribute("role", "menu");
menu.setAttribute("aria-label", "Message");
menu.addEventListener("keydown", (event) => moveFocus(event, /** @type {HTMLElement[]} */ ([...menu.children])));
menu.addEventListener("toggle", (event) => setExpanded(/** @type {ToggleEvent} */ (event).newState === "open"));

/** @type {HTMLElement | null} */
let opener = null;
let copy = () => {};
const root = new Root(menu, () =>
  h("button", { type: "button", role: "menuitem", autofocus: true, onclick: () => copy() }, "Copy link"),
);

/** @param {boolean} isExpanded */
const setExpanded = (isExpanded) => opener?.setAttribute("aria-expanded", String(isExpanded));

/** Opens the menu. @param {App} app @param {Message} message @param {HTMLElement} button that opened it */
export function openMessageMenu(app, { chat_id, message_id }, button) {
  if (!menu.isConnected) document.body.append(menu);
  opener = button;
  copy = async () => {
    menu.hidePopover();
    const isCopied = await copyText(messageAddress(chat_id, message_id));
    app.say(isCopied ? "The link is copied." : "This browser does not let the page copy.");
  };
  root.render();
  menu.showPopover();
  placeBeside(menu, button);
}
