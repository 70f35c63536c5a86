// The admin page's entry point: shows the sign-in, the admin page, or that the signed-in user is not an admin. The
// modules of the admin page are fetched for admins only.

import { Api, explain } from "../api.js";
import { textButton } from "../components/buttons.js";
import { failure } from "../components/empty.js";
import { SignIn } from "../components/sign-in.js";
import { Credentials, SignedOut } from "../credentials.js";
import { h } from "../dom.js";
import { mark } from "../icons.js";

const credentials = new Credentials(localStorage);
const api = new Api(credentials);

/** @param {string} [notice] why the person has to sign in */
async function show(notice = "Sign in to administer this Rookery.") {
  if (!credentials.current) return document.body.replaceChildren(new SignIn(api, notice, show));
  document.body.replaceChildren(waiting());
  try {
    const me = await api.me();
    if (!me.is_admin) return refuse();
    const [{ AdminApi }, { AdminShell }] = await Promise.all([import("./api.js"), import("./shell.js")]);
    document.body.replaceChildren(new AdminShell(new AdminApi(api), me, refuse));
  } catch (fault) {
    if (fault instanceof SignedOut) return; // `onEnded` has shown the sign-in
    document.body.replaceChildren(alone(failure(explain(fault), () => void show(notice))));
  }
}

/** The page for signed-in users who are not admins. */
function refuse() {
  const name = credentials.current?.user.name ?? "";
  const signOut = async () => {
    await api.signOut();
    await show();
  };
  document.body.replaceChildren(
    alone(
      mark(),
      h("h1", {}, "This page is for admins"),
      h("p", { class: "lead" }, `@${name} is no admin here. Whoever runs this Rookery can change that.`),
      h("a", { class: "primary", href: "/" }, "Back to chats"),
      textButton("quiet", () => void signOut(), "Sign in as someone else"),
    ),
  );
}

function waiting() {
  const lines = [h("span", { class: "skeleton line" }), h("span", { class: "skeleton line short" })];
  return alone(h("div", { class: "lines", role: "status", "aria-label": "Loading" }, ...lines));
}

/** @param {...Node} content */
function alone(...content) {
  return h("div", { class: "sign-in" }, h("main", {}, h("div", { class: "card" }, ...content)));
}

credentials.onEnded = () => void show("You have been signed out. Sign in to go on.");
// Another tab signed out or in: reload this page to follow it.
credentials.watch(() => location.reload());
void show();
