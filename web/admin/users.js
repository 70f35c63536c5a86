// The users: the search at the left, and the selected user with its actions at the right.

import { Problem } from "../api.js";
import { avatar } from "../components/avatar.js";
import { textButton } from "../components/buttons.js";
import { emptyState, skeletonRows } from "../components/empty.js";
import { FormModal } from "../components/modal.js";
import { searchBox } from "../components/search-box.js";
import { moveFocus } from "../focus.js";
import { displayName } from "../format.js";
import { icon } from "../icons.js";
import { isForInputMethod } from "../keys.js";
import { h } from "../view.js";
import { texts } from "./languages/language.js";
import { showLink } from "./links.js";
import { Listing } from "./pages.js";
import { MoreButton, Section } from "./section.js";
import { usersAddress } from "./summaries.js";
import { accountLabels, UserDetails } from "./user-details.js";

/** @import {Values} from "../components/form.js" */
/** @import {Frame} from "./section.js" */
/** @import {Place} from "./summaries.js" */
/** @import {Account, AccountDetails} from "./types.js" */

/** The pause in typing after which the request is sent. */
const PAUSE_MS = 250;

export class Users extends Section {
  /** The accounts that the search found; null without a search. @type {Account[] | null} */
  #found = null;
  /** All accounts, which are shown without a search. @type {Listing<Account>} */
  #all;
  #more;
  /**
   * The picked user; null if no user has the id, undefined while the user is loading.
   * @type {AccountDetails | null | undefined}
   */
  #account;
  #details;
  /** The searched part of a name, or id; empty if there is no search. */
  #part = "";
  /** The id of the picked user; empty if no user is picked. */
  #id = "";
  /** The id of the user to whose details the focus moves as soon as they are loaded; empty for none. */
  #picked = "";
  /** @type {HTMLInputElement | undefined} */
  #input;
  /** @type {HTMLElement | undefined} */
  #list;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #pause;

  /** @param {Frame} frame */
  constructor(frame) {
    super(frame);
    this.#details = new UserDetails(frame);
    this.#all = new Listing((cursor) => frame.api.accounts(cursor));
    this.#more = new MoreButton(frame.root, this.#all);
  }

  /** @override */
  stop() {
    clearTimeout(this.#pause);
  }

  /** @override @param {Place} place */
  route({ id, part }) {
    const changed = id !== this.#id;
    [this.#id, this.#part] = [id, part];
    if (this.#input && document.activeElement !== this.#input) this.#input.value = part;
    if (!changed) return;
    this.#account = undefined;
    this.#details.clear();
  }

  /** @override */
  async load() {
    const [id, part] = [this.#id, this.#part];
    const [found, account] = await Promise.all([this.#find(part), this.#load(id)]);
    if (part === this.#part) this.#found = found;
    if (id !== this.#id) return;
    this.#account = account;
    if (id !== this.#picked) return; // a refresh, perhaps one that ends before the address changes
    if (account) this.frame.root.after(() => this.#details.focusName());
    this.#picked = "";
  }

  /** Reads the accounts of a search, or else all accounts. @param {string} part */
  async #find(part) {
    if (part) return this.frame.api.findUsers(part);
    await this.#all.refresh();
    return null;
  }

  /** @param {string} id @returns {Promise<AccountDetails | null>} null if there is none */
  async #load(id) {
    if (!id) return null;
    try {
      return await this.frame.api.user(id);
    } catch (fault) {
      if (fault instanceof Problem && fault.status === 404) return null;
      throw fault;
    }
  }

  /** @override */
  content() {
    const search = {
      ref: (/** @type {HTMLInputElement} */ element) => {
        this.#input = element;
        element.value = this.#part;
      },
      oninput: () => this.#typing(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#keyInSearch(event),
    };
    const list = {
      ...{ class: "list", role: "list", "aria-labelledby": "users-title" },
      ref: (/** @type {HTMLElement} */ element) => void (this.#list = element),
      onkeydown: (/** @type {KeyboardEvent} */ event) => moveFocus(event, this.#rows()),
    };
    const back = () => this.#go("", this.#part);
    const shown = this.#found ?? this.#all.entries;
    const stop = shown.find(({ user_id }) => user_id === this.#id) ?? shown[0];
    return h(
      "div",
      { class: this.#id ? "people picked" : "people" },
      h(
        "div",
        { class: "panel found" },
        searchBox(texts.users.search, search),
        h("div", { class: "buttons" }, textButton("quiet", () => this.#create(), texts.users.create)),
        h("h2", { class: "unseen", id: "users-title" }, this.#found ? texts.users.found : texts.users.all),
        h("div", list, shown.map((account) => this.#row(account, account === stop))),
        h("div", { "aria-live": "polite" }, this.#state()),
        !this.#found && this.#more.view(texts.users.more),
      ),
      h("div", { class: "one" }, textButton("quiet back-to", back, icon("back"), this.#found ? texts.users.back : texts.users.all), this.#one()),
    );
  }

  /** @param {Account} account @param {boolean} isStop whether the Tab key reaches it; arrow keys reach all rows */
  #row(account, isStop) {
    const { user_id, name } = account;
    const state = { "aria-current": user_id === this.#id ? "true" : null, tabindex: isStop ? 0 : -1 };
    const button = { class: "row", type: "button", ...state, onclick: () => this.#pick(user_id) };
    return h(
      "div",
      { role: "listitem", key: user_id },
      h(
        "button",
        button,
        avatar(account),
        h("span", { class: "name", dir: "auto" }, displayName(account)),
        h("span", { class: "preview" }, h("bdi", {}, `@${name}`)),
        h("span", { class: "labels" }, accountLabels(account)),
      ),
    );
  }

  #state() {
    return this.#found?.length === 0 && emptyState(texts.users.nobody, texts.users.nobodyNote(this.#part));
  }

  /** The right pane: the picked user. */
  #one() {
    if (!this.#id) return emptyState(texts.users.noneSelected, texts.users.noneSelectedNote);
    if (this.#account) return this.#details.view(this.#account);
    if (this.#account === null) return emptyState(texts.users.unknown, texts.users.unknownNote);
    return h("div", { class: "panel" }, skeletonRows(1));
  }

  get #typed() {
    return this.#input?.value.trim() ?? "";
  }

  #typing() {
    clearTimeout(this.#pause);
    this.#pause = setTimeout(() => {
      this.#part = this.#typed;
      history.replaceState(history.state, "", usersAddress(this.#id, this.#part));
      void this.frame.refresh();
    }, PAUSE_MS);
  }

  #create() {
    const attributes = { autocomplete: "off", autocapitalize: "none", spellcheck: "false" };
    const fields = [
      {
        label: texts.users.name,
        name: "name",
        hint: texts.users.nameNote,
        attributes: { ...attributes, dir: "ltr", maxlength: 32, required: true, autofocus: true },
      },
      {
        ...{ label: texts.users.displayName, name: "display_name" },
        attributes: { autocomplete: "off", maxlength: 64, dir: "auto" },
      },
    ];
    const save = async (/** @type {Values} */ { name = "", display_name = "" }) => {
      const created = await this.frame.api.createUser(name.trim(), display_name.trim());
      const words = texts.users.createdNote(displayName(created.user));
      showLink(texts.users.created, words, "reset", created.password_reset.token);
      this.#go(created.user.user_id, this.#part);
    };
    new FormModal(texts.users.createTitle, texts.users.createUser, fields, save).open();
  }

  /** @param {KeyboardEvent} event */
  #keyInSearch(event) {
    if (isForInputMethod(event)) return;
    const first = this.#rows()[0];
    if (event.key === "ArrowDown" && first) {
      event.preventDefault();
      first.focus();
    } else if (event.key === "Enter") {
      first?.click();
    }
  }

  /** @param {string} id */
  #pick(id) {
    if (id === this.#id) return this.#details.focusName();
    this.#picked = id;
    clearTimeout(this.#pause);
    this.#go(id, this.#typed); // which may not be searched yet
  }

  /** @param {string} id @param {string} part */
  #go(id, part) {
    location.hash = usersAddress(id, part);
  }

  #rows() {
    return /** @type {HTMLElement[]} */ ([...(this.#list?.querySelectorAll("button") ?? [])]);
  }
}
