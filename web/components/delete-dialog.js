// Asks how to delete a message: for this user alone, which can be undone for some seconds, or for everyone: an own one, or
// another's with that permission. The stub of a deleted message, and a message of a blocked user's chat, can only be
// deleted for this user.
// Loaded when it is first opened.

import { isFormer, may } from "../groups.js";
import { isDeleted } from "../kinds/deleted.js";
import { dialogTexts } from "../languages/dialogs.js";
import { h } from "../view.js";
import { textButton } from "./buttons.js";
import { Modal } from "./modal.js";

/** @import {App} from "./app-shell.js" */
/** @import {Message} from "../types.js" */

export class DeleteDialog extends Modal {
  #app;
  #message;

  /**
   * @param {App} app
   * @param {Message} message
   * @param {boolean} isBlocked whether the user has blocked the other member
   */
  constructor(app, message, isBlocked) {
    const chat = app.chats.of(message.chat_id);
    const isOwn = message.sender_id === app.chats.me.user_id && !isFormer(chat);
    const mayDelete = !isDeleted(message) && !isBlocked && (isOwn || may(chat, "DELETE_MESSAGES"));
    const { title, forEveryone, forEveryoneHint, forMe, forMeHint, cancel } = dialogTexts.deletion;
    super(title, () => [
      h("p", {}, forMeHint),
      h("button", { class: "primary", type: "button", onclick: this.#hide }, forMe),
      mayDelete && [h("p", {}, forEveryoneHint), textButton("primary danger", () => this.#delete(), forEveryone)],
      textButton("text-button wide", () => this.close(), cancel),
    ]);
    this.element.classList.add("deletion");
    this.#app = app;
    this.#message = message;
  }

  /** By keyboard, the focus goes to the button that undoes it, since the message is gone. */
  #hide = (/** @type {MouseEvent} */ { detail }) => {
    const { sending } = this.#app;
    this.close();
    sending.set(this.#message, "hidden", true);
    const undo = () => sending.set(this.#message, "hidden", false);
    this.#app.notify(dialogTexts.deletion.deletedForMe, { label: dialogTexts.deletion.undo, press: undo, isFocused: detail === 0 });
  };

  #delete() {
    this.close();
    this.#app.sending.delete(this.#message);
  }
}
