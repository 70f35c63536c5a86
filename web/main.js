// The page's entry point: shows the sign-in, or the chats of the signed-in user, and switches between the two.

import { Api } from "./api.js";
import { AppShell } from "./components/app-shell.js";
import { SignIn } from "./components/sign-in.js";
import { applyAppearance } from "./appearance.js";
import { Credentials } from "./credentials.js";
import { deviceName } from "./device.js";
import { linkIn } from "./links.js";
import { Chats } from "./stores/chats.js";
import { openKept } from "./stores/old-keys.js";
import { Settings } from "./stores/settings.js";
import { SafeStorage } from "./stores/storage.js";
import { Sync } from "./stores/sync.js";

/** @import {User} from "./types.js" */

const storage = new SafeStorage(() => localStorage);
const settings = new Settings(storage);
settings.follow();
applyAppearance(settings);
const credentials = new Credentials(storage);
const api = new Api(credentials, deviceName(navigator.userAgent));

/** @param {string} [notice] why the person has to sign in */
function show(notice = "") {
  const link = linkIn(location.hash);
  const user = link.kind === "reset" ? undefined : credentials.current?.user;
  if (user && link.kind) history.replaceState(null, "", location.pathname); // the invite is for somebody without account
  if (user) void showChats(user);
  else showSignIn(notice);
}

/** @param {string} notice */
function showSignIn(notice) {
  const signIn = new SignIn(api, notice, show);
  document.body.replaceChildren(signIn.element);
  signIn.start();
}

/** @param {User} user */
async function showChats(user) {
  const kept = await openKept(storage, user.user_id);
  const chats = new Chats(api, user);
  const sync = new Sync(api, chats, kept);
  const shell = new AppShell(api, chats, sync, settings);
  sync.subscribe(() => {
    if (!sync.hasEnded) return;
    shell.stop();
    show(shell.leaving ? "" : "You have been signed out. Sign in to go on.");
  });
  credentials.onEnded = () => sync.session.end();
  document.body.replaceChildren(shell.element);
  shell.start();
  sync.start();
}

// Another tab signed out or in: reload this page to follow it.
credentials.watch(() => location.reload());
// A link was pasted into the address of the open page.
addEventListener("hashchange", () => linkIn(location.hash).kind && location.reload());
show();
