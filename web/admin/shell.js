// The layout of the admin page: the navigation, the shown section, whether it is up to date, and results of actions.

import { NoResponse, Problem } from "../api.js";
import { avatar, showAvatar } from "../components/avatar.js";
import { textButton } from "../components/buttons.js";
import { SignedOut } from "../credentials.js";
import { Component, h, setAttribute, setText } from "../dom.js";
import { displayName, timeOfDay } from "../format.js";
import { icon, mark } from "../icons.js";
import { AdminApi } from "./api.js";
import { Audit } from "./audit.js";
import { Configuration } from "./configuration.js";
import { parseAddress } from "./figures.js";
import { Invites } from "./invites.js";
import { Poll } from "./poll.js";
import { Processes } from "./processes.js";
import { Section } from "./section.js";
import { showOnce } from "./table.js";
import { Users } from "./users.js";

/** @import {User} from "../types.js" */

/** Milliseconds for which the result of an action is shown. */
const TOAST_MS = 8_000;

const SECTIONS = /** @type {const} */ ([
  { name: "processes", title: "Processes", Kind: Processes },
  { name: "configuration", title: "Configuration", Kind: Configuration },
  { name: "users", title: "Users", Kind: Users },
  { name: "invites", title: "Invites", Kind: Invites },
  { name: "audit", title: "Audit", Kind: Audit },
]);

export class AdminShell extends Component {
  #title = h("h1", { tabindex: -1 });
  #live = h("span", { class: "live" });
  #notice = h("div", { class: "notice", role: "status", hidden: true });
  #scroller = h("div", { class: "scroller" });
  #toast = h("div", { class: "toast", role: "status" });
  #links = SECTIONS.map(({ name, title }) => h("a", { href: `#${name}` }, icon(name), h("span", {}, title)));
  #poll = new Poll(() => this.#refresh(), document);
  #name = "";
  /** @type {Section | null} */
  #section = null;
  #asOf_ms = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #toastTimer;

  /** @param {AdminApi} api @param {User} me @param {() => void} refused the person is no admin any more */
  constructor(api, me, refused) {
    super();
    this.api = api;
    this.me = me;
    this.refused = refused;
  }

  /** @override */
  connected() {
    this.className = "admin";
    const picture = avatar();
    showAvatar(picture, this.me);
    const me = h("span", { class: "me" }, picture, h("span", {}, displayName(this.me)));
    const chats = h("a", { class: "quiet", href: "/" }, icon("back"), "Back to chats");
    const brand = h(
      "a",
      { class: "brand", href: "#processes" },
      mark(),
      "Rookery",
      h("span", { class: "label plain" }, "Admin"),
    );
    const nav = h("nav", { "aria-label": "Sections" }, ...this.#links);
    const side = h("header", { class: "side" }, brand, nav, h("div", { class: "foot" }, me, chats));
    const bar = h("div", { class: "bar" }, this.#title, this.#live);
    this.replaceChildren(side, h("main", {}, bar, this.#notice, this.#scroller), this.#toast);
    this.listen(window, "hashchange", () => this.#route(true));
    this.listen(window, "online", () => void this.refresh());
    this.#route(false);
  }

  /** @override */
  disconnectedCallback() {
    super.disconnectedCallback();
    this.#poll.stop();
  }

  /** Reads the shown section again, now. */
  refresh() {
    return this.#poll.now();
  }

  /** Shows the result of an action. @param {string} text */
  notify(text) {
    clearTimeout(this.#toastTimer);
    this.#toast.replaceChildren(h("p", {}, text));
    this.#toastTimer = setTimeout(() => this.#toast.replaceChildren(), TOAST_MS);
  }

  /** @param {boolean} moved by the user; then the focus moves to the section */
  #route(moved) {
    const place = parseAddress(location.hash);
    const { name, title, Kind } = SECTIONS.find((one) => one.name === place.section) ?? SECTIONS[0];
    const changed = name !== this.#name;
    if (changed) {
      this.#name = name;
      this.#asOf_ms = 0;
      this.#section = new Kind(this);
      this.#notice.hidden = true;
      this.#scroller.replaceChildren(this.#section);
      this.#scroller.scrollTop = 0;
      setText(this.#title, title);
      setText(this.#live, "");
      document.title = `${title} · Rookery admin`;
      for (const link of this.#links) setAttribute(link, "aria-current", link.hash === `#${name}` ? "page" : null);
    }
    this.#section?.route(place);
    if (moved && changed) this.#title.focus();
    void this.refresh();
  }

  async #refresh() {
    const section = this.#section;
    try {
      await section?.refresh();
      if (section === this.#section) this.#upToDate();
    } catch (fault) {
      if (section === this.#section) this.#failed(fault);
    }
  }

  #upToDate() {
    this.#asOf_ms = Date.now();
    this.#notice.hidden = true;
    this.#live.className = "live";
    setText(this.#live, "Live");
    this.#live.title = "Refreshed every 5 seconds while the page is visible";
  }

  /** @param {unknown} fault */
  #failed(fault) {
    if (fault instanceof SignedOut) return; // `onEnded` has shown the sign-in
    if (fault instanceof Problem && fault.status === 403) return this.refused();
    if (!(fault instanceof NoResponse || fault instanceof Problem)) reportError(fault);
    this.#live.className = "live old";
    setText(this.#live, "Not up to date");
    if (!this.#section?.ready) return; // the section shows the failure itself
    const why = fault instanceof NoResponse ? "The server does not respond." : "The server could not load this.";
    const words = `${why} This is the state at ${timeOfDay(this.#asOf_ms)}.`;
    const retry = () => textButton("", () => void this.refresh(), "Try now");
    showOnce(this.#notice, words, () => [h("span", {}, words), retry()]);
    this.#notice.hidden = false;
  }
}

customElements.define("rookery-admin", AdminShell);
