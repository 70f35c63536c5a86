// The page's entry point: shows the sign-in, or the chats of the signed-in user, and switches between the two.

import { Api } from "./api.js";
import { Client } from "./client.js";
import { AppShell } from "./components/app-shell.js";
import { SignIn } from "./components/sign-in.js";
import { Credentials } from "./credentials.js";

const credentials = new Credentials(localStorage);
const api = new Api(credentials);

/** @param {string} [notice] why the person has to sign in */
function show(notice = "") {
  const user = credentials.current?.user;
  document.body.replaceChildren(user ? signedIn(new Client(api, user, localStorage)) : new SignIn(api, notice, show));
}

/** @param {Client} client */
function signedIn(client) {
  const shell = new AppShell(client);
  client.addEventListener(
    "signed-out",
    () => show(shell.leaving ? "" : "You have been signed out. Sign in to go on."),
    { once: true },
  );
  credentials.onEnded = () => client.session.end();
  client.start();
  return shell;
}

// Another tab signed out or in: reload this page to follow it.
credentials.watch(() => location.reload());
show();
