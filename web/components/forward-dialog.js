// Forwards a message to several chats: recent ones, or chats with people that the search finds. Loaded when it is first
// opened.

import { nameList } from "../format.js";
import { isTouchScreen } from "../focus.js";
import { isDeleted } from "../kinds/deleted.js";
import { mentionsOf, textOf } from "../kinds/edited.js";
import { isHidden } from "../kinds/hidden.js";
import { dialogTexts } from "../languages/dialogs.js";
import { texts } from "../languages/language.js";
import { h } from "../view.js";
import { ChatPicker } from "./chat-picker.js";
import { Modal } from "./modal.js";

/** @import {App} from "./app-shell.js" */
/** @import {Message} from "../types.js" */
/** @import {Mention} from "../wire.js" */

/** Chats to which a message is forwarded at once. */
export const MAX_CHOSEN = 5;

export class ForwardDialog extends Modal {
  #app;
  #message;
  #picker;

  /** @param {App} app @param {Message} message */
  constructor(app, message) {
    super(dialogTexts.forwarding.title, () => this.#content());
    this.#app = app;
    this.#message = message;
    this.#picker = new ChatPicker(app, this, { ...dialogTexts.forwarding, search: texts.chats.search }, () => MAX_CHOSEN);
    this.element.classList.add("choosing");
    this.follow(app.chats, app.sending);
  }

  /** The message as it is now: it may be edited or deleted while the dialog is open. */
  get #current() {
    const { chats, sending } = this.#app;
    const { chat_id, message_id } = this.#message;
    return sending.shown(chats.conversations.find(chat_id, message_id) ?? chats.conversations.current(this.#message));
  }

  #content() {
    const isGone = !isForwardable(this.#current);
    const isSendable = !isGone && this.#picker.chosen.length > 0;
    return [
      this.#picker.view({ autofocus: !isTouchScreen() }),
      h("p", { class: "note error", role: "alert", key: "gone" }, isGone && dialogTexts.forwarding.deleted),
      h(
        "button",
        { class: "primary", type: "button", key: "send", disabled: !isSendable, onclick: () => void this.#send() },
        dialogTexts.forwarding.send,
      ),
    ];
  }

  async #send() {
    const { chats, sending } = this.#app;
    const message = this.#current;
    const { chosen } = this.#picker;
    if (!isForwardable(message) || !chosen.length) return this.root.invalidate();
    this.close();
    const { chat_id: from, message_id } = message;
    const files = message.files.map((file) => ({ ...file, chat_id: from, message_id }));
    for (const chat_id of chosen) {
      const mentions = await this.#mentionsIn(chat_id, mentionsOf(message));
      await sending.send(chat_id, textOf(message), { mentions, files, forwarded: true });
    }
    this.#app.notify(dialogTexts.forwarding.forwardedTo(nameList(chosen.map((chat_id) => chats.titleOf(chat_id)))));
  }

  /** The mentions of members of a chat. @param {string} chat_id @param {readonly Mention[]} all */
  async #mentionsIn(chat_id, all) {
    const { chats } = this.#app;
    if (all.length) await chats.loadMembers(chat_id);
    const user_ids = all.flatMap(({ user_id }) => user_id ?? []);
    const found = chats.isChannel(chat_id) && user_ids.length ? await this.#membersAmong(chat_id, user_ids) : [];
    const members = [...chats.memberIds(chat_id), ...found.map(({ user_id }) => user_id)];
    return all.filter(({ user_id = "" }) => members.includes(user_id));
  }

  /** Those of some users who are members of a channel. @param {string} chat_id @param {readonly string[]} user_ids */
  async #membersAmong(chat_id, user_ids) {
    try {
      const { membersAmong } = await import("../stores/channel-members.js");
      return await membersAmong(this.#app, chat_id, user_ids);
    } catch {
      return []; // the server is away: their names stay in the text
    }
  }
}

/** Whether a message has a text or files to forward. @param {Message} message as shown */
export const isForwardable = (message) =>
  !isDeleted(message) && !isHidden(message) && (textOf(message) !== "" || message.files.length > 0);
