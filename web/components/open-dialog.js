// Opens dialogs whose modules are loaded when they are first opened, since the first load of the page is limited.

import { texts } from "../languages/language.js";

/** @import {App} from "./app-shell.js" */

/** Counts the dialogs that were asked for. */
let asked = 0;

/**
 * Opens a dialog when its module is loaded, unless another one was asked for meanwhile: an impatient person clicks again.
 * Shows a short notice if the module can't be loaded: the next call loads it again.
 * @template Module
 * @param {Pick<App, "notify">} app
 * @param {() => Promise<Module>} load imports the module
 * @param {(module: Module) => {open: () => void}} make the dialog
 */
export async function openDialog(app, load, make) {
  const turn = ++asked;
  let module;
  try {
    module = await load();
  } catch {
    return app.notify(texts.failed.noResponse);
  }
  if (turn === asked) make(module).open();
}

/** Loads the dialogs of groups. */
export const loadGroupDialogs = () => import("./group-dialogs.js");

/** Shows a group, with its members. @param {App} app @param {string} chat_id */
export function openGroup(app, chat_id) {
  void openDialog(app, loadGroupDialogs, ({ GroupPanel }) => new GroupPanel(app, chat_id));
}

/** Shows the group of an invite link, to join it. @param {App} app @param {string} token of the link */
export function openInvite(app, token) {
  void openDialog(app, loadGroupDialogs, ({ InvitedGroup }) => new InvitedGroup(app, token));
}

/** Shows the public groups, to find and join one. @param {App} app */
export function findGroups(app) {
  void openDialog(app, loadGroupDialogs, ({ PublicGroups }) => new PublicGroups(app));
}

export const loadProfileDialogs = () => import("./profile-dialogs.js");

/** Shows the profile of a user, if it is loaded. @param {App} app @param {string} user_id */
export function openProfile(app, user_id) {
  if (!app.chats.profiles.get(user_id)) return;
  void openDialog(app, loadProfileDialogs, ({ ProfileDialog }) => new ProfileDialog(app, user_id));
}

/** Loads what the page shows of connections and blocks outside of dialogs. */
export const loadPeopleNotices = () => import("./people-notice.js");
