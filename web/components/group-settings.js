// The settings of a group: name and topic, and for admins what members may do. Others may change them meanwhile: what is
// entered here stays, and the present value is shown beside it.

import { GroupChanges } from "../group-changes.js";
import { FLAGS, GroupDraft, SWITCHED, valuesOf } from "../group-draft.js";
import { MAX_CHANNEL_MEMBERS, may } from "../groups.js";
import { dialogTexts } from "../languages/dialogs.js";
import { h } from "../view.js";
import { textButton } from "./buttons.js";
import { Confirmation } from "./confirmation.js";
import { Form } from "./form.js";
import { checkSettings, settingsFault } from "./group-fields.js";
import { Modal } from "./modal.js";

/** @import {App} from "./app-shell.js" */
/** @import {SettingName, SettingValues, SwitchName} from "../group-draft.js" */
/** @import {Group} from "../types.js" */

const switchLabels = () => ({ ...dialogTexts.groupSettings.may, ...dialogTexts.groupSettings.flags });

export class GroupSettings extends Modal {
  #app;
  #chat_id;
  #form = new Form(this.root, () => this.#save());
  #changes;
  #draft;
  /** The settings that the user was allowed to change at the start. @type {readonly SettingName[]} */
  #names;
  /** The texts that others have changed beside the user's input. @type {readonly SettingName[]} */
  #meanwhile = [];

  /** @param {App} app @param {string} chat_id of a group that is loaded */
  constructor(app, chat_id) {
    super(dialogTexts.groupSettings.title, () => this.#content());
    this.#app = app;
    this.#chat_id = chat_id;
    this.#changes = new GroupChanges(app.api, app.chats, chat_id);
    this.#draft = new GroupDraft(this.#current);
    this.#names = this.#allowed();
    this.element.classList.add("group-settings");
    this.follow(app.chats);
  }

  get #group() {
    return /** @type {Group} */ (this.#app.chats.of(this.#chat_id).group);
  }

  get #current() {
    return valuesOf(this.#group.settings);
  }

  /** The settings that the user may change now. @returns {SettingName[]} */
  #allowed() {
    const chat = this.#app.chats.of(this.#chat_id);
    return [
      ...(may(chat, "EDIT_SETTINGS") ? /** @type {const} */ (["name", "topic"]) : []),
      ...(may(chat, "MANAGE") ? /** @type {const} */ ([...SWITCHED, ...FLAGS]) : []),
    ];
  }

  /** What is entered, as far as it is on the page. @returns {SettingValues} */
  get #entered() {
    const values = this.#names.flatMap((name) => {
      const input = this.#form.input(name);
      return input ? [[name, input.type === "checkbox" ? input.checked : input.value.trim()]] : [];
    });
    return Object.fromEntries(values);
  }

  #content() {
    this.#follow();
    const allowed = this.#allowed();
    const isForbidden = !this.#names.every((name) => allowed.includes(name));
    const { forbidden, save } = dialogTexts.groupSettings;
    return h(
      "form",
      { ...this.#form.props, key: "form" },
      this.#names.includes("name") && this.#texts(),
      this.#names.includes("shows_history") && this.#switches(),
      allowed.includes("shows_history") && this.#channel(),
      h("p", { class: "note error", role: "alert", key: "forbidden" }, isForbidden && forbidden),
      this.#form.error(),
      this.#form.submitButton(save),
    );
  }

  /** Gives the untouched inputs the present values. */
  #follow() {
    const { given, meanwhile } = this.#draft.follow(this.#current, this.#entered);
    for (const [name, value] of Object.entries(given)) {
      const input = this.#form.input(name);
      if (input && typeof value === "boolean") input.checked = value;
      else if (input) input.value = String(value);
    }
    this.#meanwhile = meanwhile;
  }

  #texts() {
    const { name: nameLabel, topic: topicLabel, topicHint } = dialogTexts.group;
    const { name, topic = "" } = this.#group.settings;
    // The input may be as the present value now.
    const attributes = { dir: "auto", autocomplete: "off", oninput: () => this.root.invalidate() };
    return [
      this.#form.field({ label: nameLabel, name: "name", value: name, attributes }),
      this.#note("name"),
      this.#form.field({ label: topicLabel, name: "topic", hint: topicHint, value: topic, attributes }),
      this.#note("topic"),
    ];
  }

  #switches() {
    const { mayTitle, mayHint } = dialogTexts.groupSettings;
    return [
      h("fieldset", { class: "choices", key: "may" }, h("legend", {}, mayTitle), SWITCHED.map((name) => this.#switch(name))),
      h("p", { class: "note", key: "hint" }, mayHint),
      FLAGS.map((name) => this.#switch(name)),
    ];
  }

  /** @param {SwitchName} name */
  #switch(name) {
    const input = {
      ...{ type: "checkbox", name, onchange: () => this.root.invalidate() },
      ref: (/** @type {HTMLInputElement} */ element) => void (element.checked = this.#current[name] === true),
    };
    return h("label", { class: "choice", key: name }, h("input", input), h("span", {}, switchLabels()[name]));
  }

  /** The button that makes the group a channel, or the note that it is one. */
  #channel() {
    const { option, title, words, is } = dialogTexts.channel;
    const convert = async () => {
      const { api } = this.#app;
      await this.#changes.send(["is_channel"], (fields) => api.changeGroup(this.#chat_id, { ...fields, is_channel: true }));
    };
    const ask = () => new Confirmation({ title, words: words(MAX_CHANNEL_MEMBERS), action: option }, convert).open();
    if (this.#group.settings.is_channel) return h("p", { class: "note", role: "status", key: "channel" }, is);
    return textButton("text-button wide", ask, option);
  }

  /** The present value, if the user has entered another one. @param {"name" | "topic"} name */
  #note(name) {
    const { nameIs, topicIs, noTopic } = dialogTexts.groupSettings;
    const { name: group, topic } = this.#group.settings;
    const note = name === "name" ? nameIs(group) : topic ? topicIs(topic) : noTopic;
    return h("p", { class: "note warn", role: "status", key: `${name} note` }, this.#meanwhile.includes(name) && note);
  }

  async #save() {
    const entered = this.#entered;
    const { name, topic = "" } = { ...this.#current, ...entered };
    checkSettings({ name: String(name), topic: String(topic) });
    try {
      await this.#changes.saveSettings(this.#draft, entered);
    } catch (fault) {
      throw settingsFault(fault);
    }
    this.close();
  }
}
