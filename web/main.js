// The page's entry point: shows the sign-in, or the chats of the signed-in user, and switches between them. The
// modules of the chats are loaded after the sign-in's modules, since a new device shows the sign-in first.

import { Api } from "./api.js";
import { applyAppearance } from "./appearance.js";
import { SignIn } from "./components/sign-in.js";
import { Credentials } from "./credentials.js";
import { deviceName } from "./device.js";
import { rejectDroppedFiles } from "./drops.js";
import { useLanguage } from "./languages/language.js";
import { linkIn } from "./links.js";
import { Settings } from "./stores/settings.js";
import { SafeStorage } from "./stores/storage.js";

const storage = new SafeStorage(() => localStorage);
const settings = new Settings(storage);
settings.follow();
applyAppearance(settings);
const language = settings.get("language");
await useLanguage(language);
// Texts are read when they are first shown: a change, also in another tab, reloads the page.
settings.subscribe(() => settings.get("language") !== language && location.reload());
const credentials = new Credentials(storage);
const api = new Api(credentials, deviceName(navigator.userAgent));

/** @param {string} [notice] why the person has to sign in */
async function show(notice = "") {
  const link = linkIn(location.hash);
  const user = link.kind === "reset" ? undefined : credentials.current?.user;
  if (user && link.kind) history.replaceState(null, "", location.pathname); // the invite is for somebody without account
  if (user) {
    api.preloadChats();
    const { showChats } = await import("./app.js");
    return showChats(user, { storage, settings, credentials, api }, show);
  }
  const signIn = new SignIn(api, notice, show);
  document.body.replaceChildren(signIn.element);
  signIn.start();
}

rejectDroppedFiles();
// Another tab signed out or in: reload this page to follow it.
credentials.watch(() => location.reload());
// A link was pasted into the address of the open page.
addEventListener("hashchange", () => linkIn(location.hash).kind && location.reload());
void show();
