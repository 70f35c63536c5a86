// The page's entry point: shows the sign-in, or the chats of the signed-in user, and switches between them. The
// modules of the chats are loaded after the sign-in's modules, since a new device shows the sign-in first.

import { showBadge } from "./badge.js";
import { SignIn } from "./components/sign-in.js";
import { rejectDroppedFiles } from "./drops.js";
import { enter } from "./entry.js";
import { useLanguage } from "./languages/language.js";
import { linkIn } from "./links.js";

const entry = await enter(useLanguage);
const { credentials, api } = entry;

/** @param {string} [notice] why the person has to sign in */
async function show(notice = "") {
  const link = linkIn(location.hash);
  const user = link.kind === "reset" ? undefined : credentials.current?.user;
  if (user && link.kind === "invite") history.replaceState(null, "", location.pathname); // it is for somebody without account
  if (user) {
    api.preloadChats();
    const { showChats } = await import("./app.js");
    return showChats(user, entry, show);
  }
  document.title = "Rookery"; // no name and no number of the chats before
  showBadge(0);
  const former = credentials.current; // with a link that sets a password, perhaps of another user
  const replacing = former && import("./stores/replaced-sign-in.js").catch(() => null); // the server is away
  const signIn = new SignIn(api, notice, async () => {
    if (former) await (await replacing)?.endReplaced(former, credentials.current);
    await show();
  });
  document.body.replaceChildren(signIn.element);
  signIn.start();
}

rejectDroppedFiles();
/** A link was pasted into the address of the open page. The chats open the link of a group. */
function followLink() {
  const { kind } = linkIn(location.hash);
  if (kind && !(kind === "join" && credentials.current)) location.reload();
}

addEventListener("hashchange", followLink);
void show();
