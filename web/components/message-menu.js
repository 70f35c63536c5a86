// The menu of a message. The open chat has one, shown beside the message that opened it.

import { copyText } from "../clipboard.js";
import { moveFocus } from "../focus.js";
import { texts } from "../languages/language.js";
import { messageAddress } from "../links.js";
import { h, Root } from "../view.js";
import { menuItems } from "./menu.js";
import { placeBeside, setExpanded } from "./place.js";

/** @import {App} from "./app-shell.js" */
/** @import {Choice} from "./menu.js" */
/** @import {Message} from "../types.js" */

/** @type {HTMLElement | null} */
let opener = null;
/** @type {readonly Choice[]} */
let choices = [];
/** @type {HTMLElement | undefined} */
let menu;

const home = document.createElement("rookery-message-menu");
const root = new Root(home, () => {
  const props = {
    ...{ class: "menu", role: "menu", "aria-label": texts.message.label, popover: "auto" },
    ref: (/** @type {HTMLElement} */ element) => void (menu = element),
    ontoggle: (/** @type {ToggleEvent} */ event) => opener && setExpanded(opener, event.newState === "open"),
    onkeydown: (/** @type {KeyboardEvent} */ event) => moveFocus(event, items()),
  };
  return h("div", props, menuItems(choices, () => menu?.hidePopover()));
});

const items = () => /** @type {HTMLElement[]} */ ([...(menu?.children ?? [])]);

/** Opens the menu. @param {App} app @param {Message} message @param {HTMLElement} button that opened it */
export function openMessageMenu(app, message, button) {
  if (!home.isConnected) button.closest("rookery-chat")?.append(home); // in the landmark of the message
  opener = button;
  choices = choicesOf(app, message);
  root.render();
  menu?.showPopover();
  if (menu) placeBeside(menu, button);
}

/** What can be done with a message. @param {App} app @param {Message} message @returns {readonly Choice[]} */
function choicesOf(app, { chat_id, message_id, body }) {
  const address = messageAddress(chat_id, message_id);
  return [
    { label: texts.message.copyText, choose: () => void copy(app, body, texts.message.textCopied) },
    { label: texts.message.copyLink, choose: () => void copy(app, address, texts.message.linkCopied) },
  ];
}

/** @param {App} app @param {string} text @param {string} copied the notice */
async function copy(app, text, copied) {
  app.say((await copyText(text)) ? copied : texts.message.notCopied);
}
