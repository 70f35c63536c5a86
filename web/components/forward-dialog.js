// Forwards a message to several chats: recent ones, or chats with people that the search finds. Loaded when it is first
// opened.

import { nameList } from "../format.js";
import { isTouchScreen } from "../focus.js";
import { inTime } from "../deadline.js";
import { isDeleted } from "../kinds/deleted.js";
import { mentionsOf, textOf } from "../kinds/edited.js";
import { isHidden } from "../kinds/hidden.js";
import { dialogTexts } from "../languages/dialogs.js";
import { texts } from "../languages/language.js";
import { h } from "../view.js";
import { MEMBERS_DEADLINE_MS } from "../writing.js";
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
    const send = async (/** @type {string} */ chat_id) => {
      const mentions = await this.#mentionsIn(chat_id, mentionsOf(message));
      await sending.send(chat_id, textOf(message), { mentions, files, forwarded: true });
    };
    await Promise.all(chosen.map(send));
    this.#app.notify(dialogTexts.forwarding.forwardedTo(nameList(chosen.map((chat_id) => chats.titleOf(chat_id)))));
  }

  /**
   * The mentions of members of a chat, as far as they are known in time.
   * @param {string} chat_id
   * @param {readonly Mention[]} all
   */
  async #mentionsIn(chat_id, all) {
    const user_ids = all.flatMap(({ user_id }) => user_id ?? []);
    if (!user_ids.length) return [];
    const loading = inTime(MEMBERS_DEADLINE_MS, this.#loadAmong(chat_id, user_ids));
    const found = await loading.catch(() => []); // their names stay in the text
    const members = [...this.#app.chats.memberIds(chat_id), ...found];
    return all.filter(({ user_id = "" }) => members.includes(user_id));
  }

  /**
   * Loads the members of a group.
   * @param {string} chat_id
   * @param {readonly string[]} user_ids
   * @returns {Promise<readonly string[]>} of a channel: the ids among `user_ids` that are of members
   */
  async #loadAmong(chat_id, user_ids) {
    const { chats } = this.#app;
    await chats.loadMembers(chat_id);
    if (!chats.isChannel(chat_id)) return [];
    const { membersAmong } = await import("../stores/channel-members.js");
    return (await membersAmong(this.#app, chat_id, user_ids)).map(({ user_id }) => user_id);
  }
}

/** Whether a message has a text or files to forward. @param {Message} message as shown */
export const isForwardable = (message) =>
  !isDeleted(message) && !isHidden(message) && (textOf(message) !== "" || message.files.length > 0);
