// The files of messages on the page. Their view is loaded with the first message that has one.

import { openDialog } from "./open-dialog.js";
import { loadStyle } from "./style.js";

/** @import {App} from "./app-shell.js" */
/** @import {Choice} from "./menu.js" */
/** @import {Message} from "../types.js" */
/** @import {Child} from "../view.js" */

const STYLE = "styles/files.css";

/** @type {typeof import("./message-files.js") | null} */
let loaded = null;
let isLoading = false;

/**
 * What the view of a message's files depends on, besides the message.
 * @param {App} app
 * @param {Message} message
 */
export function filesState(app, message) {
  if (!message.files.length) return "";
  if (!loaded) void load(app);
  return loaded ? loaded.stateOf(app, message) : "loading";
}

/**
 * The files of a message above its text; nothing until their view is loaded.
 * @param {App} app
 * @param {Message} message
 * @param {number} tabindex
 * @param {(message_id: string) => void} goTo shows a message of the chat
 * @returns {Child}
 */
export const filesView = (app, message, tabindex, goTo) =>
  message.files.length > 0 && loaded?.filesView(app, message, tabindex, goTo);

/** What the menu of a message offers for its files. @param {App} app @param {Message} message @returns {Choice[]} */
export const fileChoices = (app, message) => (message.files.length && loaded?.choicesOf(app, message)) || [];

/**
 * Shows the pictures and files of a chat.
 * @param {App} app
 * @param {string} chat_id
 * @param {(message_id: string) => void} goTo shows a message of the chat
 */
export function openFiles(app, chat_id, goTo) {
  const load = () => loadStyle(STYLE).then(() => import("./files-dialog.js"));
  void openDialog(app, load, ({ FilesDialog }) => new FilesDialog(app, chat_id, goTo));
}

/** @param {App} app */
async function load(app) {
  if (isLoading) return;
  isLoading = true;
  try {
    const style = loadStyle(STYLE);
    const module = await import("./message-files.js");
    await style;
    loaded = module;
  } catch {
    // The server is away: the next rendering, such as that of the new connection, loads it again.
  }
  isLoading = false;
  if (loaded) app.root.invalidate();
}
