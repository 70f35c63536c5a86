// The settings of this browser, and of the account.

import { Api, explain } from "../api.js";
import * as banners from "../banners.js";
import { fullTime } from "../format.js";
import { h } from "../view.js";
import { textButton } from "./buttons.js";
import { failure } from "./empty.js";
import { check, Form } from "./form.js";
import { Modal } from "./modal.js";
import { turnOn } from "./notifications.js";

/** @import {App} from "./app-shell.js" */
/** @import {Values} from "./form.js" */
/** @import {Setting} from "../stores/settings.js" */
/** @import {SignInDetails} from "../types.js" */
/** @import {Children} from "../view.js" */

const SHORTEST_PASSWORD = 10;
const NEW_PASSWORD_RULE = `At least ${SHORTEST_PASSWORD} characters: a short sentence works well.`;

/**
 * A group of radio buttons: the words of each value.
 * @typedef {{name: Setting, label: string, values: [string, string][]}} Group
 */
/** @type {readonly Group[]} */
const LOOK = [
  {
    name: "theme",
    label: "Theme",
    values: [
      ["system", "System"],
      ["light", "Light"],
      ["dark", "Dark"],
    ],
  },
  {
    name: "text_size",
    label: "Text size",
    values: [
      ["small", "Small"],
      ["normal", "Normal"],
      ["large", "Large"],
      ["largest", "Largest"],
    ],
  },
  {
    name: "time_format",
    label: "Times",
    values: [
      ["system", "System"],
      ["12", "12 hours"],
      ["24", "24 hours"],
    ],
  },
];
const NO_NOTIFICATIONS = "This browser shows none for this page: they need an address with https.";
const DELETION =
  "Your profile, password and sign-ins are deleted for ever. Your messages stay, and your user name is not used again.";
const BLOCKED = "The browser blocks them for this page. Allow them in its settings for this site, and reload.";

export class SettingsDialog extends Modal {
  #app;
  /** Rises each time it is opened, so that no form keeps what was typed. */
  #opened = 0;
  /** Why the sign-ins could not be loaded or ended; empty without a failure. */
  #problem = "";
  /** Null while they are being loaded. @type {readonly SignInDetails[] | null} */
  #signIns = null;
  #isPasswordShown = false;
  #isPasswordChanged = false;
  #isDeleting = false;
  /** The inputs that are on or off. @type {Map<string, HTMLInputElement>} */
  #inputs = new Map();

  /** @param {App} app */
  constructor(app) {
    super("Settings", () => this.#view());
    this.#app = app;
    this.element.classList.add("settings");
    this.password = new Form(this.root, (values) => this.#changePassword(values));
    this.deletion = new Form(this.root, (values) => this.#deleteAccount(values));
    app.settings.subscribe(this.root.invalidate);
  }

  /** @override */
  open() {
    this.#opened++;
    this.#isPasswordShown = this.#isPasswordChanged = this.#isDeleting = false;
    this.password.clear();
    this.deletion.clear();
    super.open();
    void this.#load();
  }

  #view() {
    return h(
      "div",
      { key: String(this.#opened) },
      section("Look", LOOK.map((group) => this.#group(group))),
      section("Notifications", this.#notifications()),
      section("Privacy", this.#switch("typing", "shown", "hidden", "Show others when I am writing")),
      section("Where you are signed in", this.#signInList()),
      section("Password", this.#passwordForm()),
      section("Account", this.#leave()),
    );
  }

  // ---- this browser

  /** @param {Group} group */
  #group({ name, label, values }) {
    const { settings } = this.#app;
    const radios = values.map(([value, words]) =>
      this.#choice({
        ...{ type: "radio", name, value, words },
        isChecked: settings.get(name) === value,
        choose: () => settings.set(name, value),
      }),
    );
    return h("fieldset", { class: "choices" }, h("legend", {}, label), radios);
  }

  /** @param {Setting} name @param {string} on the value @param {string} off the value @param {string} words */
  #switch(name, on, off, words) {
    const { settings } = this.#app;
    const choose = (/** @type {boolean} */ isOn) => settings.set(name, isOn ? on : off);
    return this.#choice({ type: "checkbox", name, value: on, words, isChecked: settings.get(name) === on, choose });
  }

  #notifications() {
    const { settings } = this.#app;
    const permission = banners.permission();
    const problem = !banners.isSupported() ? NO_NOTIFICATIONS : permission === "denied" ? BLOCKED : "";
    return [
      this.#choice({
        ...{ type: "checkbox", name: "desktop", value: "on", words: "Notifications outside this page" },
        isChecked: settings.get("desktop") === "on" && permission === "granted",
        isDisabled: problem !== "",
        choose: (isOn) => (isOn ? void turnOn(settings) : settings.set("desktop", "off")),
      }),
      h("p", { class: "note" }, problem),
      this.#switch("content", "shown", "hidden", "Show the sender and the text in them"),
      this.#switch("sound", "on", "off", "A sound for new messages"),
    ];
  }

  /**
   * @param {object} options
   * @param {"radio" | "checkbox"} options.type
   * @param {string} options.name
   * @param {string} options.value
   * @param {string} options.words
   * @param {boolean} options.isChecked
   * @param {boolean} [options.isDisabled]
   * @param {(isOn: boolean) => void} options.choose
   */
  #choice({ type, name, value, words, isChecked, isDisabled = false, choose }) {
    const key = `${name} ${value}`;
    this.root.after(() => {
      const input = this.#inputs.get(key);
      if (input) input.checked = isChecked; // the browser may show what the person tried, or what another tab replaced
    });
    const input = {
      ...{ type, name, value, disabled: isDisabled },
      ref: (/** @type {HTMLInputElement} */ element) => void this.#inputs.set(key, element),
      onchange: (/** @type {Event} */ { target }) => choose(/** @type {HTMLInputElement} */ (target).checked),
    };
    return h("label", { class: "choice", key }, h("input", input), h("span", {}, words));
  }

  // ---- the sign-ins

  #signInList() {
    if (this.#problem) return failure(this.#problem, () => void this.#load());
    if (!this.#signIns) return h("p", { class: "note", role: "status" }, "Loading…");
    const hasOthers = this.#signIns.some(({ is_current }) => !is_current);
    return [
      h("ul", { class: "list" }, this.#signIns.map((each) => this.#signIn(each))),
      h("p", { class: "note" }, "A browser in use is seen every few minutes."),
      hasOthers && textButton("text-button", () => void this.#end((api) => api.endOtherSignIns()), "End all others"),
    ];
  }

  /** @param {SignInDetails} signIn */
  #signIn({ sign_in_id, device_name, last_seen_at_ms, is_current }) {
    const name = device_name || "Unnamed device";
    const end = { ...{ class: "text-button", type: "button" }, "aria-label": `End the sign-in of ${name}` };
    return h(
      "li",
      { class: "sign-in-row", key: sign_in_id },
      h(
        "span",
        {},
        h("strong", { dir: "auto" }, name),
        h("small", {}, is_current ? "This browser" : `Last seen: ${fullTime(Number(last_seen_at_ms))}`),
      ),
      !is_current && h("button", { ...end, onclick: () => void this.#end((api) => api.endSignIn(sign_in_id)) }, "End"),
    );
  }

  #load() {
    this.#signIns = null;
    return this.#read((api) => api.signIns());
  }

  /** Ends sign-ins, and reads what is left. @param {(api: Api) => Promise<unknown>} end */
  #end(end) {
    return this.#read(async (api) => {
      await end(api);
      return api.signIns();
    });
  }

  /** @param {(api: Api) => Promise<{sign_ins: SignInDetails[]}>} read */
  async #read(read) {
    this.#problem = "";
    this.root.invalidate();
    try {
      this.#signIns = (await read(this.#app.api)).sign_ins;
    } catch (fault) {
      this.#problem = explain(fault);
    }
    this.root.invalidate();
  }

  // ---- the account

  #passwordForm() {
    if (this.#isPasswordChanged)
      return h("p", { class: "note", role: "status" }, "The password is changed. All your other sign-ins have ended.");
    const password = { type: this.#isPasswordShown ? "text" : "password", maxlength: 128, required: true };
    return h(
      "form",
      this.password.props,
      this.password.field({
        ...{ label: "Current password", name: "current_password" },
        attributes: { ...password, autocomplete: "current-password" },
      }),
      this.password.field({
        ...{ label: "New password", name: "new_password", hint: NEW_PASSWORD_RULE },
        attributes: { ...password, autocomplete: "new-password", spellcheck: "false", autocapitalize: "none" },
      }),
      this.#choice({
        ...{ type: "checkbox", name: "shown", value: "shown", words: "Show the passwords" },
        isChecked: this.#isPasswordShown,
        choose: (isOn) => this.#showPassword(isOn),
      }),
      this.password.error(),
      this.password.submitButton("Change password"),
    );
  }

  /** @param {boolean} isShown */
  #showPassword(isShown) {
    this.#isPasswordShown = isShown;
    this.root.invalidate();
  }

  /** @param {Values} values */
  async #changePassword({ current_password = "", new_password = "" }) {
    check({
      current_password: current_password ? "" : "Type your current password.",
      new_password: new_password.length >= SHORTEST_PASSWORD ? "" : NEW_PASSWORD_RULE,
    });
    await this.#app.api.changePassword(current_password, new_password);
    this.#isPasswordChanged = true;
    void this.#load();
  }

  #leave() {
    const leaving = () => {
      this.close();
      void this.#app.signOut();
    };
    return [
      textButton("text-button", leaving, "Sign out"),
      this.#isDeleting
        ? this.#deletionForm()
        : textButton("text-button danger", () => this.#askToDelete(), "Delete account…"),
    ];
  }

  #askToDelete() {
    this.#isDeleting = true;
    this.root.after(() => this.deletion.input("current_password")?.focus());
    this.root.invalidate();
  }

  #deletionForm() {
    const attributes = { type: "password", maxlength: 128, required: true, autocomplete: "current-password" };
    return h(
      "form",
      { ...this.deletion.props, key: "deletion" },
      h("p", { class: "note" }, DELETION),
      this.deletion.field({ label: "Your password", name: "current_password", attributes }),
      this.deletion.error(),
      h("button", { class: "primary danger", type: "submit", disabled: this.deletion.isBusy }, "Delete my account"),
    );
  }

  /** @param {Values} values */
  async #deleteAccount({ current_password = "" }) {
    check({ current_password: current_password ? "" : "Type your password." });
    await this.#app.deleteAccount(current_password);
    this.close();
  }
}

/** @param {string} title @param {...Children} content */
const section = (title, ...content) => h("section", { key: title }, h("h3", {}, title), ...content);
