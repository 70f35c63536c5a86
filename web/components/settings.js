// The settings of this browser, and of the account.

import { explain, Problem } from "../api.js";
import * as banners from "../banners.js";
import { fullTime } from "../format.js";
import { dialogTexts } from "../languages/dialogs.js";
import { LANGUAGES, texts } from "../languages/language.js";
import { h } from "../view.js";
import { textButton } from "./buttons.js";
import { failure } from "./empty.js";
import { check, Form, Invalid, newPasswordProblem, newPasswordRule } from "./form.js";
import { Modal } from "./modal.js";
import { turnOn } from "./notifications.js";
import { loadProfileDialogs, openDialog } from "./open-dialog.js";

/** @import {App} from "./app-shell.js" */
/** @import {Values} from "./form.js" */
/** @import {Setting} from "../stores/settings.js" */
/** @import {SignInDetails, User} from "../types.js" */
/** @import {Children} from "../view.js" */

/** Newest first, 100 at most. */
const SIGN_INS = "/v1/me/sign-ins";

/**
 * A group of radio buttons: the label of each value.
 * @typedef {{name: Setting, label: string, values: [string, string][]}} Group
 */
/** @returns {readonly Group[]} */
const look = () => [
  {
    name: "theme",
    label: dialogTexts.settings.theme,
    values: [
      ["system", dialogTexts.settings.themeSystem],
      ["light", dialogTexts.settings.themeLight],
      ["dark", dialogTexts.settings.themeDark],
    ],
  },
  {
    name: "text_size",
    label: dialogTexts.settings.textSize,
    values: [
      ["small", dialogTexts.settings.sizeSmall],
      ["normal", dialogTexts.settings.sizeNormal],
      ["large", dialogTexts.settings.sizeLarge],
      ["largest", dialogTexts.settings.sizeLargest],
    ],
  },
  {
    name: "time_format",
    label: dialogTexts.settings.times,
    values: [
      ["system", dialogTexts.settings.timesSystem],
      ["12", dialogTexts.settings.hours(12)],
      ["24", dialogTexts.settings.hours(24)],
    ],
  },
];

export class SettingsDialog extends Modal {
  #app;
  /** Rises each time the dialog is opened, so that no form keeps earlier input. */
  #opened = 0;
  /** The failure to load or end sign-ins; empty if there is none. */
  #problem = "";
  /** The settings of the account that are being saved. @type {Partial<User>} */
  #saving = {};
  /** The end of their saves, one after the other: each needs the version after the one before. */
  #saves = Promise.resolve();
  /** Why a setting of the account is not saved; empty if there is no reason. */
  #unsaved = "";
  /** Null while the sign-ins are loading. @type {readonly SignInDetails[] | null} */
  #signIns = null;
  /** Rises with each request for them, so that a late response to an older one is ignored. */
  #turn = 0;
  #isPasswordShown = false;
  #isPasswordChanged = false;
  #isDeleting = false;
  /** The radio buttons and checkboxes, by key. @type {Map<string, HTMLInputElement>} */
  #inputs = new Map();

  /** @param {App} app */
  constructor(app) {
    super(dialogTexts.settings.title, () => this.#view());
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
    this.#unsaved = "";
    this.password.clear();
    this.deletion.clear();
    super.open();
    void this.#load();
    this.#app.chats.refreshMe().then(this.root.invalidate, () => {}); // another device may have changed the settings
  }

  #view() {
    return h(
      "div",
      { key: String(this.#opened) },
      section(dialogTexts.settings.look, look().map((group) => this.#group(group)), this.#language()),
      section(dialogTexts.settings.notifications, this.#notifications()),
      section(
        dialogTexts.settings.privacy,
        this.#switch("typing", "shown", "hidden", dialogTexts.settings.typing),
        this.#ownSwitch("shows_presence", dialogTexts.settings.presence),
        h("p", { class: "note", key: "presence" }, dialogTexts.settings.presenceHint),
        this.#ownSwitch("shows_read_marks", dialogTexts.settings.readMarks),
        h("p", { class: "note", key: "readMarks" }, dialogTexts.settings.readMarksHint),
        this.#whoMayStart(),
        h("p", { class: "note error", role: "alert", key: "unsaved" }, this.#unsaved),
        textButton("text-button", () => this.#openPeople(), dialogTexts.settings.people),
      ),
      section(dialogTexts.signIns.title, this.#signInList()),
      section(dialogTexts.password.title, this.#passwordForm()),
      section(dialogTexts.account.title, this.#leave()),
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

  /** Names each language in itself. A change reloads the page, so the browser must keep the choice and unsent texts. */
  #language() {
    const { settings, sending } = this.#app;
    const choices = [
      ["system", dialogTexts.settings.languageSystem],
      ...Object.entries(LANGUAGES).map(([code, { name }]) => [code, name]),
    ];
    const select = {
      ...{ id: "language", name: "language", disabled: !sending.survivesReload },
      onchange: (/** @type {Event} */ { target }) =>
        settings.set("language", /** @type {HTMLSelectElement} */ (target).value),
    };
    return h(
      "div",
      { class: "field", key: "language" },
      h("label", { for: "language" }, dialogTexts.settings.language),
      h(
        "select",
        select,
        choices.map(([value, name]) => {
          const lang = value === "system" ? null : value;
          return h("option", { key: value, value, lang, selected: value === settings.get("language") }, name);
        }),
      ),
    );
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
    const problem = !banners.isSupported() ? dialogTexts.settings.unsupported : permission === "denied" ? dialogTexts.settings.blocked : "";
    return [
      this.#choice({
        ...{ type: "checkbox", name: "desktop", value: "on", words: dialogTexts.settings.outside },
        isChecked: settings.get("desktop") === "on" && permission === "granted",
        isDisabled: problem !== "",
        choose: (isOn) => (isOn ? void turnOn(settings) : settings.set("desktop", "off")),
      }),
      h("p", { class: "note" }, problem),
      this.#switch("content", "shown", "hidden", dialogTexts.settings.content),
      this.#switch("sound", "on", "off", dialogTexts.settings.sound),
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
      if (input) input.checked = isChecked; // after a refused change, or a change in another tab
    });
    const input = {
      ...{ type, name, value, disabled: isDisabled },
      ref: (/** @type {HTMLInputElement} */ element) => void this.#inputs.set(key, element),
      onchange: (/** @type {Event} */ { target }) => choose(/** @type {HTMLInputElement} */ (target).checked),
    };
    return h("label", { class: "choice", key }, h("input", input), h("span", {}, words));
  }

  // ---- settings of the account

  /** The user, with the settings that are being saved. */
  get #mine() {
    return { ...this.#app.chats.me, ...this.#saving };
  }

  /** @param {"shows_presence" | "shows_read_marks"} name of the setting, which is on by default @param {string} words */
  #ownSwitch(name, words) {
    const isChecked = this.#mine[name] !== false;
    const choose = (/** @type {boolean} */ isOn) => void this.#saveMine({ [name]: isOn });
    return this.#choice({ type: "checkbox", name, value: "on", words, isChecked, choose });
  }

  #whoMayStart() {
    const { whoMayStart, startedBy, startedHint } = dialogTexts.settings;
    const present = this.#mine.who_may_start ?? "everyone";
    const radios = /** @type {const} */ (["everyone", "connections"]).map((value) =>
      this.#choice({
        ...{ type: "radio", name: "who_may_start", value, words: startedBy[value], isChecked: present === value },
        choose: () => void this.#saveMine({ who_may_start: value }),
      }),
    );
    return [
      h("fieldset", { class: "choices", key: "start" }, h("legend", {}, whoMayStart), radios),
      h("p", { class: "note", key: "startHint" }, startedHint),
    ];
  }

  #openPeople() {
    this.close();
    void openDialog(this.#app, loadProfileDialogs, ({ PeopleDialog }) => new PeopleDialog(this.#app));
  }

  /** Saves a setting of the account after those before it. @param {Partial<User>} change */
  async #saveMine(change) {
    this.#unsaved = "";
    this.#saving = { ...this.#saving, ...change };
    const save = (this.#saves = this.#saves.then(() => this.#save(change)));
    await save;
    if (save === this.#saves) this.#saving = {};
    this.root.invalidate();
  }

  /** Saves a setting, whatever another device has changed meanwhile. @param {Partial<User>} change */
  async #save(change) {
    const { chats } = this.#app;
    try {
      await chats.changeProfile(change).catch(async (fault) => {
        if (!(fault instanceof Problem && fault.code === "version_conflict")) throw fault;
        await chats.refreshMe();
        await chats.changeProfile(change);
      });
      if ("shows_presence" in change) chats.presence.watchAgain(); // who hides theirs sees nobody's
    } catch (fault) {
      this.#unsaved = explain(fault);
    }
  }

  // ---- the sign-ins

  #signInList() {
    if (this.#problem) return failure(this.#problem, () => void this.#load());
    if (!this.#signIns) return h("p", { class: "note", role: "status" }, texts.loading);
    const hasOthers = this.#signIns.some(({ is_current }) => !is_current);
    return [
      h("ul", { class: "list" }, this.#signIns.map((each) => this.#signIn(each))),
      h("p", { class: "note" }, dialogTexts.signIns.hint),
      hasOthers && textButton("text-button", () => void this.#end("others"), dialogTexts.signIns.endOthers),
    ];
  }

  /** @param {SignInDetails} signIn */
  #signIn({ sign_in_id, device_name, last_seen_at_ms, is_current }) {
    const name = device_name || dialogTexts.signIns.unnamed;
    const end = { ...{ class: "text-button", type: "button" }, "aria-label": dialogTexts.signIns.endOf(name) };
    return h(
      "li",
      { class: "sign-in-row", key: sign_in_id },
      h(
        "span",
        {},
        h("strong", { dir: "auto" }, name),
        h("small", {}, is_current ? dialogTexts.signIns.here : dialogTexts.signIns.lastSeen(fullTime(Number(last_seen_at_ms)))),
      ),
      !is_current && h("button", { ...end, onclick: () => void this.#end(sign_in_id) }, dialogTexts.signIns.end),
    );
  }

  #load() {
    this.#signIns = null;
    return this.#read();
  }

  /** Ends a sign-in, or all `others`, and reads the remaining ones. @param {string} sign_in_id */
  #end(sign_in_id) {
    return this.#read(() => this.#app.api.signedIn("DELETE", `${SIGN_INS}/${encodeURIComponent(sign_in_id)}`));
  }

  /** Reads the sign-ins. @param {() => Promise<unknown>} [before] a request before that */
  async #read(before) {
    this.#problem = "";
    this.root.invalidate();
    let turn = 0;
    try {
      await before?.();
      turn = ++this.#turn;
      const { sign_ins } = await this.#app.api.signedIn("GET", SIGN_INS);
      if (turn === this.#turn) this.#signIns = sign_ins;
    } catch (fault) {
      if (!turn || turn === this.#turn) this.#problem = explain(fault); // a newer request may have succeeded
    }
    this.root.invalidate();
  }

  // ---- the account

  #passwordForm() {
    if (this.#isPasswordChanged)
      return h("p", { class: "note", role: "status" }, dialogTexts.password.changed);
    const password = { type: this.#isPasswordShown ? "text" : "password", required: true };
    return h(
      "form",
      this.password.props,
      this.password.field({
        ...{ label: dialogTexts.password.current, name: "current_password" },
        attributes: { ...password, autocomplete: "current-password" },
      }),
      this.password.field({
        ...{ label: dialogTexts.password.new, name: "new_password", hint: newPasswordRule() },
        attributes: { ...password, autocomplete: "new-password", spellcheck: "false", autocapitalize: "none" },
      }),
      this.#choice({
        ...{ type: "checkbox", name: "shown", value: "shown", words: dialogTexts.password.show },
        isChecked: this.#isPasswordShown,
        choose: (isOn) => this.#showPassword(isOn),
      }),
      this.password.error(),
      this.password.submitButton(dialogTexts.password.change),
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
      current_password: current_password ? "" : dialogTexts.password.typeCurrent,
      new_password: newPasswordProblem(new_password),
    });
    const { api, chats } = this.#app;
    const changed = await api.signedIn("PUT", "/v1/me/password", { current_password, new_password });
    if (changed) api.keepDeviceToken(chats.me.name, changed.device_token); // a BFF of the former version returns nothing
    this.#isPasswordChanged = true;
    void this.#load();
  }

  #leave() {
    const leaving = () => {
      this.close();
      void this.#app.signOut();
    };
    return [
      textButton("text-button", leaving, dialogTexts.account.signOut),
      this.#isDeleting
        ? this.#deletionForm()
        : textButton("text-button danger", () => this.#askToDelete(), dialogTexts.account.delete),
    ];
  }

  #askToDelete() {
    this.#isDeleting = true;
    this.root.after(() => this.deletion.input("current_password")?.focus());
    this.root.invalidate();
  }

  #deletionForm() {
    const attributes = { type: "password", required: true, autocomplete: "current-password" };
    return h(
      "form",
      { ...this.deletion.props, key: "deletion" },
      h("p", { class: "note" }, dialogTexts.account.deletion),
      this.deletion.field({ label: dialogTexts.account.yourPassword, name: "current_password", attributes }),
      this.deletion.error(),
      h("button", { class: "primary danger", type: "submit", disabled: this.deletion.isBusy }, dialogTexts.account.deleteMine),
    );
  }

  /** @param {Values} values */
  async #deleteAccount({ current_password = "" }) {
    check({ current_password: current_password ? "" : texts.typeYourPassword });
    try {
      await this.#app.deleteAccount(current_password);
    } catch (fault) {
      if (fault instanceof Problem && fault.code === "out_of_order")
        throw new Invalid({ current_password: dialogTexts.account.adminsStay });
      throw fault;
    }
    this.close();
  }
}

/** @param {string} title @param {...Children} content */
const section = (title, ...content) => h("section", { key: title }, h("h3", {}, title), ...content);
