// The start of the chat page and of the admin page: the person's choices for this browser, and the sign-in.

import { Api } from "./api.js";
import { applyAppearance } from "./appearance.js";
import { Credentials } from "./credentials.js";
import { deviceName } from "./device.js";
import { Settings } from "./stores/settings.js";
import { SafeStorage } from "./stores/storage.js";

/**
 * @typedef {object} Entry
 * @property {Settings} settings
 * @property {Credentials} credentials
 * @property {Api} api
 * @property {() => boolean} mayReload whether a reload loses nothing; the chats set it
 * @property {() => void} followLanguage reloads the page if another language is chosen, and the page may reload; to be
 * called when the second becomes true
 */

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
  const followLanguage = () => {
    if (settings.get("language") !== language && entry.mayReload()) location.reload();
  };
  settings.subscribe(followLanguage);
  const credentials = new Credentials(storage);
  // Another tab signed out or in: reload this page to follow it.
  credentials.watch(() => location.reload());
  const api = new Api(credentials, deviceName(navigator.userAgent));
  const entry = { settings, credentials, api, mayReload: () => true, followLanguage };
  return entry;
}
