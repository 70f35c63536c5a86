// The layout of the admin page: the navigation, the shown section, whether it is up to date, and results of actions.

import { NoResponse, Problem } from "../api.js";
import { avatar } from "../components/avatar.js";
import { textButton } from "../components/buttons.js";
import { SignedOut } from "../credentials.js";
import { displayName, timeOfDay } from "../format.js";
import { icon, mark } from "../icons.js";
import { h, Root } from "../view.js";
import { AdminApi } from "./api.js";
import { Audit } from "./audit.js";
import { Configuration } from "./configuration.js";
import { Invites } from "./invites.js";
import { texts } from "./languages/language.js";
import { Poll } from "./poll.js";
import { Processes } from "./processes.js";
import { Reports } from "./reports.js";
import { Section } from "./section.js";
import { parseAddress } from "./summaries.js";
import { Users } from "./users.js";

/** @import {User} from "../types.js" */

/** Milliseconds for which the result of an action is shown. */
const TOAST_MS = 8_000;

const SECTIONS = /** @type {const} */ ([
  { name: "processes", Kind: Processes },
  { name: "configuration", Kind: Configuration },
  { name: "users", Kind: Users },
  { name: "invites", Kind: Invites },
  { name: "reports", Kind: Reports },
  { name: "audit", Kind: Audit },
]);

export class AdminShell {
  element = document.createElement("rookery-admin");
  /** @type {Root} */
  root = new Root(this.element, () => this.#view());
  #life = new AbortController();
  #poll = new Poll(() => this.#refresh(), document);
  #shown = sectionAt(location.hash);
  /** @type {Section} */
  #section;
  /** When the shown section was loaded last; 0 before. */
  #asOf_ms = 0;
  /**
   * The notice after a failed refresh, for the time of the shown state; null if the last refresh succeeded.
   * @type {((time: string) => string) | null}
   */
  #failure = null;
  #toast = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #toastTimer;
  /** @type {HTMLElement | undefined} */
  #title;

  /** @param {AdminApi} api @param {User} me @param {() => void} refused the person is no admin any more */
  constructor(api, me, refused) {
    this.api = api;
    this.me = me;
    this.refused = refused;
    this.element.className = "admin";
    this.#section = new this.#shown.Kind(this);
  }

  /** Shows the page in `element`, and keeps it up to date until `stop`. */
  start() {
    const { signal } = this.#life;
    addEventListener("hashchange", () => this.#route(), { signal });
    addEventListener("online", () => void this.refresh(), { signal });
    this.#route();
    this.root.render();
  }

  stop() {
    this.#life.abort();
    this.#poll.stop();
    this.#section.stop();
    this.root.stop();
    clearTimeout(this.#toastTimer);
  }

  /** Reads the shown section again, now. */
  refresh() {
    return this.#poll.now();
  }

  /** Shows the result of an action. @param {string} text */
  notify(text) {
    clearTimeout(this.#toastTimer);
    this.#toastTimer = setTimeout(() => this.#showToast(""), TOAST_MS);
    this.#showToast(text);
  }

  /** @param {string} text empty for none */
  #showToast(text) {
    this.#toast = text;
    this.root.invalidate();
  }

  #view() {
    const { name } = this.#shown;
    const title = texts.sections[name];
    document.title = texts.frame.title(title);
    const heading = { tabindex: -1, ref: (/** @type {HTMLElement} */ element) => void (this.#title = element) };
    const scrolled = { role: "region", "aria-label": title, tabindex: 0 }; // so that keys can scroll it
    return [
      this.#side(),
      h(
        "main",
        {},
        h("div", { class: "bar" }, h("h1", heading, title), this.#live()),
        this.#notice(),
        h("div", { class: "scroller", key: name, ...scrolled }, this.#section.view()),
      ),
      h("div", { class: "toast", role: "status" }, this.#toast && h("p", { key: this.#toast }, this.#toast)),
    ];
  }

  #side() {
    const link = (/** @type {(typeof SECTIONS)[number]} */ { name }) => {
      const current = name === this.#shown.name ? "page" : null;
      return h("a", { href: `#${name}`, "aria-current": current }, icon(name), h("span", {}, texts.sections[name]));
    };
    return h(
      "header",
      { class: "side" },
      h(
        "a",
        { class: "brand", href: "#processes" },
        mark(),
        "Rookery",
        h("span", { class: "label plain" }, texts.user.admin),
      ),
      h("nav", { "aria-label": texts.frame.sections }, SECTIONS.map(link)),
      h(
        "div",
        { class: "foot" },
        h("span", { class: "me" }, avatar(this.me), h("span", { dir: "auto" }, displayName(this.me))),
        h("a", { class: "quiet", href: "/" }, icon("back"), texts.frame.backToChats),
      ),
    );
  }

  /** The label that shows whether the section is up to date. */
  #live() {
    const isOld = this.#failure !== null;
    const title = this.#asOf_ms > 0 && texts.frame.liveNote;
    const words = isOld ? texts.frame.old : this.#asOf_ms ? texts.frame.live : "";
    return h("span", { class: isOld ? "live old" : "live", title }, words);
  }

  /** The failure of the last refresh; a section that is not loaded yet shows its failure itself. */
  #notice() {
    const words = this.#section.isReady && this.#failure?.(timeOfDay(this.#asOf_ms));
    const retry = textButton("", () => void this.refresh(), texts.frame.tryNow);
    return h("div", { class: "notice", role: "status", hidden: !words }, words && [h("span", {}, words), retry]);
  }

  /** Shows the section of the address. If the section changes, the focus moves to it. */
  #route() {
    const shown = sectionAt(location.hash);
    if (shown !== this.#shown) {
      this.#section.stop();
      this.#shown = shown;
      this.#section = new shown.Kind(this);
      this.#asOf_ms = 0;
      this.#failure = null;
      this.root.after(() => this.#title?.focus());
    }
    this.#section.route(parseAddress(location.hash));
    this.root.invalidate();
    void this.refresh();
  }

  async #refresh() {
    const section = this.#section;
    try {
      await section.refresh();
      if (section === this.#section) this.#upToDate();
    } catch (fault) {
      if (section === this.#section) this.#failed(fault);
    }
  }

  #upToDate() {
    this.#asOf_ms = Date.now();
    this.#failure = null;
    this.root.invalidate();
  }

  /** @param {unknown} fault */
  #failed(fault) {
    if (fault instanceof SignedOut) return; // `onEnded` has shown the sign-in
    if (fault instanceof Problem && fault.status === 403) return this.refused();
    if (!(fault instanceof NoResponse || fault instanceof Problem)) reportError(fault);
    this.#failure = fault instanceof NoResponse ? texts.frame.noResponse : texts.frame.notLoaded;
    this.root.invalidate();
  }
}

/** The section of an address; the first one if it has none. @param {string} hash */
function sectionAt(hash) {
  const { section } = parseAddress(hash);
  return SECTIONS.find(({ name }) => name === section) ?? SECTIONS[0];
}
