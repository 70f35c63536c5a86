// Creates a group: its name, its topic and its first members. What is entered stays until the group is created.

import { isTouchScreen } from "../focus.js";
import { GroupChanges } from "../group-changes.js";
import { MAX_ADDED, MAX_CHANNEL_MEMBERS } from "../groups.js";
import { isForInputMethod } from "../keys.js";
import { dialogTexts } from "../languages/dialogs.js";
import { h } from "../view.js";
import { textButton } from "./buttons.js";
import { ChatPicker } from "./chat-picker.js";
import { Form } from "./form.js";
import { checkSettings, peopleFault, settingsFault } from "./group-fields.js";
import { Modal } from "./modal.js";
import { findGroups } from "./open-dialog.js";

/** @import {App} from "./app-shell.js" */
/** @import {Values} from "./form.js" */

export class NewGroup extends Modal {
  #app;
  #done;
  #form = new Form(this.root, (values) => this.#create(values));
  #changes;
  #picker;

  /** @param {App} app @param {() => void} done called when the group is created */
  constructor(app, done) {
    super(dialogTexts.groupNew.title, () => this.#content());
    this.#app = app;
    this.#done = done;
    this.#changes = new GroupChanges(app.api, app.chats);
    this.#picker = new ChatPicker(app, this, dialogTexts.groupPeople, () => MAX_ADDED, ({ deleted }) => !deleted);
    this.element.classList.add("choosing");
  }

  /** @override */
  open() {
    this.follow(this.#app.chats);
    super.open();
  }

  #content() {
    const { name, topic, topicHint } = dialogTexts.group;
    const { people, create, find } = dialogTexts.groupNew;
    const attributes = { dir: "auto", autocomplete: "off", onkeydown: this.#keyPressed };
    return h(
      "form",
      { ...this.#form.props, key: "form" },
      textButton("text-button wide", () => this.#findInstead(), find),
      this.#form.field({ label: name, name: "name", attributes: { ...attributes, maxlength: 128, autofocus: !isTouchScreen() } }),
      this.#form.field({ label: topic, name: "topic", hint: topicHint, attributes: { ...attributes, maxlength: 1_024 } }),
      channelChoice(),
      h("h3", { class: "label", key: "people" }, people),
      this.#picker.view(),
      this.#form.error(),
      this.#form.submitButton(create),
    );
  }

  #findInstead() {
    this.close();
    findGroups(this.#app);
  }

  /** The Enter key goes on to the people: the group is not complete yet. */
  #keyPressed = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Enter" || isForInputMethod(event)) return;
    event.preventDefault();
    this.#picker.focus();
  };

  /** @param {Values} values */
  async #create(values) {
    const [name, topic] = [values["name"]?.trim() ?? "", values["topic"]?.trim() ?? ""];
    checkSettings({ name, topic });
    const { api, chats } = this.#app;
    const user_ids = this.#picker.chosen.map((chat_id) => chats.otherOf(chat_id));
    let event;
    try {
      // Also after a change of the input: if the response to the first attempt was lost, the group exists already.
      const group = { name, user_ids, ...(topic ? { topic } : {}), ...(values["is_channel"] ? { is_channel: true } : {}) };
      event = await this.#changes.send(["create"], (fields) => api.signedIn("POST", "/v1/chats", { ...fields, ...group }));
    } catch (fault) {
      throw settingsFault(peopleFault(fault, user_ids, chats));
    }
    this.#done();
    if (!this.element.open) return; // the user has gone elsewhere meanwhile: the new group is in the list
    this.close();
    this.#app.open(event.message?.chat_id ?? "");
  }
}

/** Whether the group is a channel, and what that means. */
function channelChoice() {
  const { option, words } = dialogTexts.channel;
  const input = { type: "checkbox", name: "is_channel", "aria-describedby": "channel-note" };
  return [
    h("label", { class: "choice", key: "channel" }, h("input", input), h("span", {}, option)),
    h("p", { class: "note", id: "channel-note", key: "about" }, words(MAX_CHANNEL_MEMBERS)),
  ];
}
