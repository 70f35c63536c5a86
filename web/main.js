// The page's entry point: shows the sign-in, or the chats of the signed-in user, and switches between the two.

import { Api } from "./api.js";
import { AppShell } from "./components/app-shell.js";
import { SignIn } from "./components/sign-in.js";
import { Credentials } from "./credentials.js";
import { rejectDroppedFiles } from "./drops.js";
import { linkIn } from "./links.js";
import { Chats } from "./stores/chats.js";
import { openCopies } from "./stores/database.js";
import { openKept } from "./stores/old-keys.js";
import { Recent } from "./stores/recent.js";
import { SafeStorage } from "./stores/storage.js";
import { Sync } from "./stores/sync.js";
import { Updates } from "./stores/updates.js";

/** @import {User} from "./types.js" */

const storage = new SafeStorage(() => localStorage);
const credentials = new Credentials(storage);
const api = new Api(credentials);
/** Copies the chats of the signed-in user; null while nobody is signed in. @type {Recent | null} */
let recent = null;
const updates = new Updates(navigator.serviceWorker, import.meta.url);

/** @param {string} [notice] why the person has to sign in */
function show(notice = "") {
  const link = linkIn(location.hash);
  const user = link.kind === "reset" ? undefined : credentials.current?.user;
  if (user && link.kind) history.replaceState(null, "", location.pathname); // the invite is for somebody without account
  if (user) void showChats(user);
  else document.body.replaceChildren(new SignIn(api, notice, show));
}

/** @param {User} user */
async function showChats(user) {
  const chats = new Chats(api, user);
  const isSignedIn = () => credentials.current?.user.user_id === user.user_id;
  const copies = (recent = new Recent(chats, openCopies(user.user_id), isSignedIn));
  const [kept] = await Promise.all([openKept(storage, user.user_id), copies.start()]);
  const sync = new Sync(api, chats, kept);
  const shell = new AppShell(api, chats, sync, updates);
  sync.subscribe(() => {
    if (sync.isOnline) void updates.check(); // perhaps the server was updated meanwhile
    if (!sync.hasEnded) return;
    recent = null;
    void copies.stop();
    shell.stop();
    show(shell.leaving ? "" : "You have been signed out. Sign in to go on.");
  });
  credentials.onEnded = () => sync.session.end();
  document.body.replaceChildren(shell.element);
  shell.start();
  sync.start();
}

updates.start();
rejectDroppedFiles();
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") void recent?.save();
  else void updates.check();
});
// Another tab signed out or in: reload this page to follow it.
credentials.watch(() => location.reload());
// A link was pasted into the address of the open page.
addEventListener("hashchange", () => linkIn(location.hash).kind && location.reload());
show();
