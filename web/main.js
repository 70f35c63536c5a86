// The page's entry point: shows the sign-in, or the chats of the signed-in user, and switches between the two.

import { Api } from "./api.js";
import { Client } from "./client.js";
import { AppShell } from "./components/app-shell.js";
import { SignIn } from "./components/sign-in.js";
import { Credentials } from "./credentials.js";
import { linkIn } from "./links.js";

const credentials = new Credentials(localStorage);
const api = new Api(credentials);

/** @param {string} [notice] why the person has to sign in */
function show(notice = "") {
  const link = linkIn(location.hash);
  const user = link.kind === "reset" ? undefined : credentials.current?.user;
  if (user && link.kind) history.replaceState(null, "", location.pathname); // the invite is for somebody without account
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
// A link was pasted into the address of the open page.
addEventListener("hashchange", () => linkIn(location.hash).kind && location.reload());
show();
