// Adds people to a group. Somebody else may add them meanwhile: then they are not offered any more.

import { isTouchScreen } from "../focus.js";
import { GroupChanges } from "../group-changes.js";
import { MAX_ADDED, may, roomIn } from "../groups.js";
import { dialogTexts } from "../languages/dialogs.js";
import { h } from "../view.js";
import { ChatPicker } from "./chat-picker.js";
import { Form } from "./form.js";
import { peopleFault } from "./group-fields.js";
import { Modal } from "./modal.js";

/** @import {App} from "./app-shell.js" */
/** @import {Group, Profile} from "../types.js" */
/** @import {Member} from "../wire.js" */

export class AddPeople extends Modal {
  #app;
  #chat_id;
  #added;
  #form = new Form(this.root, () => this.#add());
  #changes;
  #picker;
  /** The members, and their ids. */
  #known = { members: /** @type {readonly Member[]} */ ([]), ids: /** @type {ReadonlySet<string>} */ (new Set()) };

  /** @param {App} app @param {string} chat_id @param {(count: number) => void} added called with the number of people */
  constructor(app, chat_id, added) {
    super(dialogTexts.groupAdd.title, () => this.#content());
    this.#app = app;
    this.#chat_id = chat_id;
    this.#added = added;
    this.#changes = new GroupChanges(app.api, app.chats, chat_id);
    const group = () => /** @type {Group} */ (app.chats.of(chat_id).group);
    const most = () => Math.min(roomIn(group()), MAX_ADDED);
    const isListed = (/** @type {Profile} */ { user_id, deleted }) => !deleted && !this.#present.has(user_id);
    this.#picker = new ChatPicker(app, this, dialogTexts.groupPeople, most, isListed);
    this.element.classList.add("choosing");
    this.follow(app.chats);
  }

  /** The users who are members; of a channel, none is known: the server refuses them. */
  get #present() {
    const { chats } = this.#app;
    const { members } = chats.rosters.of(chats.isChannel(this.#chat_id) ? "" : this.#chat_id);
    if (members !== this.#known.members) this.#known = { members, ids: new Set(members.map(({ user_id }) => user_id)) };
    return this.#known.ids;
  }

  #content() {
    const { add, forbidden } = dialogTexts.groupAdd;
    const isAllowed = may(this.#app.chats.of(this.#chat_id), "ADD_MEMBERS");
    return h(
      "form",
      { ...this.#form.props, key: "form" },
      this.#picker.view({ autofocus: !isTouchScreen() }),
      h("p", { class: "note error", role: "alert", key: "forbidden" }, !isAllowed && forbidden),
      this.#form.error(),
      this.#form.submitButton(add),
    );
  }

  async #add() {
    const { chats } = this.#app;
    const user_ids = this.#picker.chosen.map((chat_id) => chats.otherOf(chat_id));
    if (!user_ids.length) return this.#picker.focus();
    try {
      await this.#changes.add(user_ids);
    } catch (fault) {
      throw peopleFault(fault, user_ids, chats, chats.of(this.#chat_id).group);
    }
    this.close();
    this.#added(user_ids.length);
  }
}
