// The menu of a message. The open chat has one, shown beside the message that opened it.

import { moveFocus } from "../focus.js";
import { withNames } from "../formatting.js";
import { isFormer, may } from "../groups.js";
import { isDeleted } from "../kinds/deleted.js";
import { editedAt, mentionsOf, textOf } from "../kinds/edited.js";
import { LISTED_KINDS, setOf } from "../kinds/listed.js";
import { previewOf } from "../kinds/previewed.js";
import { texts } from "../languages/language.js";
import { messageAddress } from "../links.js";
import { h, Root } from "../view.js";
import { fileChoices } from "./files-later.js";
import { menuItems } from "./menu.js";
import { loadGroupDialogs, loadProfileDialogs, openDialog, openProfile } from "./open-dialog.js";
import { placeBeside, setExpanded } from "./popover-position.js";

/** @import {App} from "./app-shell.js" */
/** @import {Choice} from "./menu.js" */
/** @import {ListedKind} from "../kinds/listed.js" */
/** @import {Message} from "../types.js" */

/**
 * The actions of a chat on its messages.
 * @typedef {object} MessageActions
 * @property {(message: Message) => void} reply
 * @property {(message: Message) => void} edit an own message
 * @property {(message_id: string) => void} goTo
 * @property {() => boolean} canWrite whether the user can write in the chat: else a note replaces the composer
 * @property {() => boolean} isBlocked whether the user has blocked the other member, whom no change may reach
 */

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

/**
 * Opens the menu.
 * @param {App} app
 * @param {Message} message as shown
 * @param {HTMLElement} button that opened it
 * @param {MessageActions} actions
 */
export function openMessageMenu(app, message, button, actions) {
  if (!home.isConnected) button.closest("rookery-chat")?.append(home); // in the landmark of the message
  opener = button;
  choices = choicesOf(app, message, actions);
  root.render();
  menu?.showPopover();
  if (menu) placeBeside(menu, button);
}

/**
 * What can be done with a message.
 * @param {App} app
 * @param {Message} message
 * @param {MessageActions} actions
 * @returns {readonly Choice[]}
 */
function choicesOf(app, message, actions) {
  const { chat_id, message_id, sender_id, files } = message;
  const isBlocked = actions.isBlocked();
  const deletion = { label: texts.message.delete, choose: () => remove(app, message, isBlocked) };
  if (isDeleted(message)) return [deletion];
  const { profiles } = app.chats;
  const text = withNames(textOf(message), mentionsOf(message), (mention) => profiles.mentioned(mention));
  const hasContent = Boolean(text) || files.length > 0;
  const address = messageAddress(chat_id, message_id);
  const isOwn = sender_id === app.chats.me.user_id;
  const chat = app.chats.of(chat_id);
  const canWrite = actions.canWrite();
  const kinds = LISTED_KINDS.filter((kind) => kind !== "pinned" || (may(chat, "PIN") && !isBlocked));
  return [
    ...(canWrite ? [{ label: texts.message.reply, choose: () => actions.reply(message) }] : []),
    ...(hasContent ? [{ label: texts.message.forward, choose: () => forward(app, message) }] : []),
    ...fileChoices(app, message),
    ...(text || !files.length ? [{ label: texts.message.copyText, choose: () => void copy(app, text, texts.message.textCopied) }] : []),
    { label: texts.message.copyLink, choose: () => void copy(app, address, texts.message.linkCopied) },
    ...kinds.map((kind) => toggle(app, message, kind)),
    ...(isOwn && canWrite && hasContent && app.sending.mayEdit(message_id) ? [{ label: texts.message.edit, choose: () => actions.edit(message) }] : []),
    ...(previewOf(message) && canWrite && (isOwn || may(chat, "DELETE_MESSAGES")) ? [{ label: texts.message.removePreview, choose: () => app.sending.removePreview(message) }] : []),
    ...(editedAt(message) ? [{ label: texts.message.editHistory, choose: () => openEdits(app, message) }] : []),
    ...(chat.group && !isOwn ? [{ label: texts.chat.profile, choose: () => openProfile(app, sender_id) }] : []),
    ...(!isOwn && hasContent ? [{ label: texts.message.report, choose: () => reportMessage(app, message) }] : []),
    ...(chat.group && !isFormer(chat) && !app.chats.isChannel(chat_id) ? [{ label: texts.group.seenBy, choose: () => openReaders(app, message) }] : []),
    deletion,
  ];
}

/** Sets a listed kind, or removes it if it is set. @param {App} app @param {Message} message @param {ListedKind} kind */
function toggle({ sending }, message, kind) {
  const isSet = setOf(message, kind) !== undefined;
  const { set, remove } = texts.listed[kind];
  return { label: isSet ? remove : set, choose: () => sending.set(message, kind, !isSet) };
}

/** @param {App} app @param {string} text @param {string} copied the notice */
async function copy(app, text, copied) {
  app.notify((await app.copyText(text)) ? copied : texts.message.notCopied);
}

/** @param {App} app @param {Message} message @param {boolean} isBlocked */
function remove(app, message, isBlocked) {
  const load = () => import("./delete-dialog.js");
  void openDialog(app, load, ({ DeleteDialog }) => new DeleteDialog(app, message, isBlocked));
}

/** @param {App} app @param {Message} message */
function forward(app, message) {
  void openDialog(app, () => import("./forward-dialog.js"), ({ ForwardDialog }) => new ForwardDialog(app, message));
}

/** @param {App} app @param {Message} message of a group */
function openReaders(app, message) {
  void openDialog(app, loadGroupDialogs, ({ SeenBy }) => new SeenBy(app, message));
}

/** Opens the history of a message's edits. @param {App} app @param {Message} message */
export function openEdits(app, message) {
  void openDialog(app, () => import("./edits-dialog.js"), ({ EditsDialog }) => new EditsDialog(app, message));
}

/** Reports a message of another user. @param {App} app @param {Message} message as shown */
function reportMessage(app, message) {
  const profile = app.chats.profiles.get(message.sender_id);
  if (profile) void openDialog(app, loadProfileDialogs, ({ ReportDialog }) => new ReportDialog(app, profile, message));
}
