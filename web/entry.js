// The start of the chat page and of the admin page: the person's choices for this browser, and the sign-in.

import { Api } from "./api.js";
import { applyAppearance } from "./appearance.js";
import { Credentials } from "./credentials.js";
import { deviceName } from "./device.js";
import { Settings } from "./stores/settings.js";
import { SafeStorage } from "./stores/storage.js";

/** @typedef {{storage: SafeStorage, settings: Settings, credentials: Credentials, api: Api}} Entry */

/**
 * Call it once, before anything is shown.
 * @param {(chosen: string) => Promise<unknown>} useLanguage loads the texts of the page
 * @returns {Promise<Entry>}
 */
export async function enter(useLanguage) {
  const storage = new SafeStorage(() => localStorage);
  const settings = new Settings(storage);
  settings.follow();
  applyAppearance(settings);
  const language = settings.get("language");
  await useLanguage(language);
  // Texts are read when they are first shown: a change, also in another tab, reloads the page.
  settings.subscribe(() => settings.get("language") !== language && location.reload());
  const credentials = new Credentials(storage);
  // Another tab signed out or in: reload this page to follow it.
  credentials.watch(() => location.reload());
  return { storage, settings, credentials, api: new Api(credentials, deviceName(navigator.userAgent)) };
}
