// The users: the search at the left, and the selected user with its actions at the right.

import { Problem } from "../api.js";
import { avatar, showAvatar } from "../components/avatar.js";
import { textButton } from "../components/buttons.js";
import { emptyState, skeletonRows } from "../components/empty.js";
import { field } from "../components/field.js";
import { FormModal } from "../components/modal.js";
import { searchBox } from "../components/search-box.js";
import { h, reconcile, setAttribute, setText } from "../dom.js";
import { moveFocus } from "../focus.js";
import { displayName } from "../format.js";
import { icon } from "../icons.js";
import { usersAddress } from "./figures.js";
import { showLink } from "./links.js";
import { Section } from "./section.js";
import { showOnce } from "./table.js";
import { accountLabels, UserDetails } from "./user-details.js";

/** @import {Frame} from "./section.js" */
/** @import {Place} from "./figures.js" */
/** @import {Account, AccountDetails} from "./types.js" */

/** The pause in typing after which the request is sent. */
const PAUSE_MS = 250;

export class Users extends Section {
  #search = searchBox("Part of a name, or an id");
  #input = this.#search.input;
  #list = h("div", { class: "list", role: "list", "aria-label": "Users found" });
  #state = h("div", { "aria-live": "polite" });
  #details;
  #hint = emptyState(
    "No user selected",
    "Select a user to see their sign-ins, to suspend or delete them, or to reset their password.",
  );
  #missing = emptyState("No such user", "No user has this id.");
  #waiting = h("div", { class: "panel" }, skeletonRows(1));
  #one = h("div", { class: "one" });
  #part = "";
  #id = "";
  /** Whether the focus moves to the details as soon as they are loaded. */
  #isPicking = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #pause;

  /** @param {Frame} frame */
  constructor(frame) {
    super(frame);
    this.#details = new UserDetails(frame);
  }

  /** @override */
  connected() {
    super.connected();
    const back = textButton("quiet back-to", () => this.#go("", this.#part), icon("back"), "All results");
    this.#one.append(back, this.#hint, this.#waiting, this.#missing, this.#details);
    const create = h("div", { class: "buttons" }, textButton("quiet", () => this.#create(), "Create a user…"));
    const found = h("div", { class: "panel found" }, this.#search.element, this.#list, this.#state, create);
    this.content.replaceChildren(h("div", { class: "people" }, found, this.#one));
    this.listen(this.#input, "input", () => this.#typing());
    this.listen(this.#input, "keydown", (event) => this.#keyInSearch(event));
    this.listen(this.#list, "keydown", (event) => moveFocus(event, this.#rows()));
  }

  /** @override @param {Place} place */
  route({ id, part }) {
    const changed = id !== this.#id;
    [this.#id, this.#part] = [id, part];
    if (document.activeElement !== this.#input) this.#input.value = part;
    this.classList.toggle("picked", id !== "");
    if (!changed) return;
    this.#details.clear();
    this.#showDetails(undefined);
    this.#markRows();
  }

  /** @override */
  async load() {
    const [id, part] = [this.#id, this.#part];
    const [found, account] = await Promise.all([this.#find(part), this.#account(id)]);
    if (part === this.#part) this.#showFound(found);
    if (id === this.#id) this.#showDetails(account);
  }

  /** @param {string} part */
  async #find(part) {
    return part ? this.frame.api.findUsers(part) : null;
  }

  /** @param {string} id @returns {Promise<AccountDetails | null>} null if there is none */
  async #account(id) {
    if (!id) return null;
    try {
      return await this.frame.api.user(id);
    } catch (fault) {
      if (fault instanceof Problem && fault.status === 404) return null;
      throw fault;
    }
  }

  /** @param {AccountDetails | null | undefined} account null if there is none, undefined while that is not known */
  #showDetails(account) {
    this.#hint.hidden = this.#id !== "";
    this.#waiting.hidden = account !== undefined || !this.#id;
    this.#missing.hidden = account !== null || !this.#id;
    this.#details.hidden = !account;
    if (!account) return;
    this.#details.show(account);
    if (this.#isPicking) this.#details.focusName();
    this.#isPicking = false;
  }

  /** @param {Account[] | null} found null if nothing was asked */
  #showFound(found) {
    reconcile(this.#list, found ?? [], {
      key: ({ user_id }) => user_id,
      make: ({ user_id }) => new UserRow(() => this.#pick(user_id)),
      update: (row, account) => row.show(account),
    });
    this.#markRows();
    const face = found === null ? "start" : found.length ? "" : `none ${this.#part}`;
    showOnce(this.#state, face, () => this.#faces(face));
  }

  /** @param {string} face */
  #faces(face) {
    if (face === "start") return [emptyState("Find a user", "Type a name or a part of it, or the whole id of a user.")];
    return face ? [emptyState("Nobody found", `Nobody has a name with “${this.#part}”.`)] : [];
  }

  #markRows() {
    for (const row of this.#list.children) /** @type {UserRow} */ (row).mark(this.#id);
  }

  #typing() {
    clearTimeout(this.#pause);
    this.#pause = setTimeout(() => {
      if (!this.isConnected) return; // the address belongs to another section by now
      history.replaceState(history.state, "", usersAddress(this.#id, this.#input.value.trim()));
      this.#part = this.#input.value.trim();
      void this.frame.refresh();
    }, PAUSE_MS);
  }

  #create() {
    const attributes = { autocomplete: "off", autocapitalize: "none", spellcheck: "false" };
    const name = field({
      label: "User name",
      name: "name",
      hint: "3 to 32 of the letters a to z, digits, dots, dashes and underscores.",
      attributes: { ...attributes, maxlength: 32, required: true, autofocus: true },
    });
    const shown = field({ label: "Name", name: "display_name", attributes: { autocomplete: "off", maxlength: 64 } });
    const save = async () => {
      const created = await this.frame.api.createUser(name.input.value.trim(), shown.input.value.trim());
      const words = `With this link, ${displayName(created.user)} sets the password, once, within a day.`;
      showLink("User created", words, "reset", created.password_reset.token);
      this.#go(created.user.user_id, this.#part);
    };
    new FormModal("Create a user", "Create user", [name, shown], save).open();
  }

  /** @param {KeyboardEvent} event */
  #keyInSearch(event) {
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
    this.#isPicking = true;
    this.#go(id, this.#part);
  }

  /** @param {string} id @param {string} part */
  #go(id, part) {
    location.hash = usersAddress(id, part);
  }

  #rows() {
    return /** @type {HTMLElement[]} */ ([...this.#list.querySelectorAll("button")]);
  }
}

class UserRow extends HTMLElement {
  #avatar = avatar();
  #name = h("span", { class: "name" });
  #account = h("span", { class: "preview" });
  #labels = h("span", { class: "labels" });
  #button;
  #id = "";

  /** @param {() => void} open */
  constructor(open) {
    super();
    this.setAttribute("role", "listitem");
    this.#button = textButton("row", open, this.#avatar, this.#name, this.#account, this.#labels);
    this.append(this.#button);
  }

  /** @param {Account} account */
  show(account) {
    this.#id = account.user_id;
    showAvatar(this.#avatar, account);
    setText(this.#name, displayName(account));
    setText(this.#account, `@${account.name}`);
    const { is_admin, suspended_at_ms } = account;
    showOnce(this.#labels, [is_admin, suspended_at_ms], () => accountLabels(account));
  }

  /** @param {string} picked the id of whose details are shown */
  mark(picked) {
    setAttribute(this.#button, "aria-current", picked === this.#id ? "true" : null);
  }
}

customElements.define("rookery-admin-users", Users);
customElements.define("rookery-admin-user-row", UserRow);
