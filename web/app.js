// The page of a signed-in user: loads the data of this browser, connects the stores, and shows the chats.

import { asset } from "./asset.js";
import { AppShell } from "./components/app-shell.js";
import { Chats } from "./stores/chats.js";
import { openCopies, openDatabase } from "./stores/database.js";
import { Kept } from "./stores/kept.js";
import { Recent } from "./stores/recent.js";
import { Sync } from "./stores/sync.js";
import { Updates } from "./stores/updates.js";

/** @import {Entry} from "./entry.js" */
/** @import {User} from "./types.js" */

/** One for this page, for all users that sign in. */
const updates = new Updates(navigator.serviceWorker, asset(""));
updates.start();

/**
 * Shows the chats until the sign-in ends.
 * @param {User} user
 * @param {Entry} entry
 * @param {(notice: string) => void} ended called with the reason; empty if the user signed out here
 */
export async function showChats(user, entry, ended) {
  const { settings, credentials, api } = entry;
  const life = new AbortController();
  const chats = new Chats(api, user);
  const isSignedIn = () => credentials.current?.user.user_id === user.user_id;
  const recent = new Recent(chats, openCopies(user.user_id), isSignedIn);
  const [kept] = await Promise.all([Kept.open(() => openDatabase(user.user_id)), recent.start()]);
  const sync = new Sync(api, chats, kept);
  if ("BroadcastChannel" in globalThis)
    sync.sending.share((name) => new BroadcastChannel(`rookery.${name}-${user.user_id}`), life.signal);
  entry.mayReload = () => sync.hasEnded || sync.sending.survivesReload;
  sync.sending.subscribe(entry.followLanguage);
  const shell = new AppShell(api, chats, sync, settings, updates);
  sync.subscribe(() => {
    if (sync.isOnline) void updates.check(); // the server may be updated
    if (!sync.hasEnded) return;
    life.abort();
    void recent.stop();
    shell.stop();
    ended(shell.farewell);
  });
  credentials.onEnded = () => sync.session.end();
  const leftOrBack = () => void (document.visibilityState === "hidden" ? recent.save() : updates.check());
  document.addEventListener("visibilitychange", leftOrBack, { signal: life.signal });
  document.body.replaceChildren(shell.element);
  shell.start();
  sync.start();
}
