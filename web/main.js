// The page's entry point: shows the sign-in, or the chats of the signed-in user, and switches between the two.

import { Api } from "./api.js";
import { Client } from "./client.js";
import { AppShell } from "./components/app-shell.js";
import { SignIn } from "./components/sign-in.js";
import { Credentials } from "./credentials.js";
import { openKept } from "./stores/old-keys.js";
import { SafeStorage } from "./stores/storage.js";

/** @import {User} from "./types.js" */

const storage = new SafeStorage(() => localStorage);
const credentials = new Credentials(storage);
const api = new Api(credentials);

/** @param {string} [notice] why the person has to sign in */
async function show(notice = "") {
  const user = credentials.current?.user;
  document.body.replaceChildren(user ? await signedIn(user) : new SignIn(api, notice, () => void show()));
}

/** @param {User} user */
async function signedIn(user) {
  const client = new Client(api, user, await openKept(storage, user.user_id));
  const shell = new AppShell(client);
  client.addEventListener(
    "signed-out",
    () => void show(shell.leaving ? "" : "You have been signed out. Sign in to go on."),
    { once: true },
  );
  credentials.onEnded = () => client.session.end();
  client.start();
  return shell;
}

// Another tab signed out or in: reload this page to follow it.
credentials.watch(() => location.reload());
void show();
