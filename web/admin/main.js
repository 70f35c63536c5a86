// The admin page's entry point: shows the sign-in, the admin page, or that the signed-in user is not an admin. The
// modules of the admin page are fetched for admins only.

import { explain } from "../api.js";
import { textButton } from "../components/buttons.js";
import { failure } from "../components/empty.js";
import { SignIn } from "../components/sign-in.js";
import { SignedOut } from "../credentials.js";
import { enter } from "../entry.js";
import { mark } from "../icons.js";
import { clearCopies, clearKept } from "../stores/clearing.js";
import { h, Root } from "../view.js";
import { texts, useAdminLanguage } from "./languages/language.js";

/** @import {Child} from "../view.js" */

const { credentials, api } = await enter(useAdminLanguage);
document.title = texts.entry.title;
/** Stops the shown page. */
let stop = () => {};
/** The user of the sign-in, or of the one that has just ended. */
let user_id = "";

/** @param {string} [notice] why the person has to sign in */
async function show(notice = texts.entry.signIn) {
  if (!credentials.current) return place(new SignIn(api, notice, show));
  ({ user_id } = credentials.current.user);
  const waiting = { class: "lines", role: "status", "aria-label": texts.frame.loading };
  card(h("div", waiting, line("line"), line("line short")));
  try {
    const me = await api.me();
    if (!me.is_admin) return refuse();
    const [{ AdminApi }, { AdminShell }] = await Promise.all([import("./api.js"), import("./shell.js")]);
    place(new AdminShell(new AdminApi(api), me, refuse));
  } catch (fault) {
    if (fault instanceof SignedOut) return; // `onEnded` has shown the sign-in
    card(failure(explain(fault), () => void show(notice)));
  }
}

/** The page for signed-in users who are not admins. */
function refuse() {
  const name = credentials.current?.user.name ?? "";
  const signOut = async () => {
    await api.signOut();
    await clearKept(user_id);
    await show();
  };
  card(
    mark(),
    h("h1", {}, texts.entry.forAdmins),
    h("p", { class: "lead" }, texts.entry.notAdmin(name)),
    h("a", { class: "primary", href: "/" }, texts.frame.backToChats),
    textButton("quiet", () => void signOut(), texts.entry.otherAccount),
  );
}

/** Replaces the page. @param {{element: Element, start: () => void, stop?: () => void}} page */
function place(page) {
  stop();
  stop = () => page.stop?.();
  document.body.replaceChildren(page.element);
  page.start();
}

/** A page of a single card. @param {...Child} content */
function card(...content) {
  const element = document.createElement("div");
  element.className = "sign-in";
  const root = new Root(element, () => h("main", {}, h("div", { class: "card" }, ...content)));
  place({ element, start: () => root.render() });
}

/** The placeholder of a line of text that is loading. @param {string} look */
const line = (look) => h("span", { class: `skeleton ${look}` });

credentials.onEnded = () => {
  void clearCopies(user_id);
  void show(texts.entry.signedOut);
};
void show();
