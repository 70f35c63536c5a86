// Opens dialogs whose modules are loaded when they are first opened, since the first load of the page is limited.

import { texts } from "../languages/language.js";

/** @import {App} from "./app-shell.js" */

/**
 * Shows a short notice if the module can't be loaded: the next call loads it again.
 * @template Module
 * @param {Pick<App, "say">} app
 * @param {() => Promise<Module>} load imports the module
 * @param {(module: Module) => {open: () => void}} make the dialog
 */
export async function openDialog(app, load, make) {
  let module;
  try {
    module = await load();
  } catch {
    return app.say(texts.failed.noResponse);
  }
  make(module).open();
}
