// Asks whether to mark all chats as read, and does so.

import { dialogTexts } from "../languages/dialogs.js";
import { h } from "../view.js";
import { FormModal } from "./modal.js";

/** @import {App} from "./app-shell.js" */

export class ReadAll extends FormModal {
  /** @param {Pick<App, "chats" | "sending">} app */
  constructor({ chats, sending }) {
    const { title, words, action } = dialogTexts.readAll;
    const readAll = async () => {
      await chats.loadAll();
      for (const chat of chats.all) if (sending.isUnread(chat)) sending.readAll(chat.chat_id);
    };
    super(title, action, [], readAll, h("p", {}, words));
  }
}
