// The choices of a chat's menu, and of its menu in the list.

import { texts } from "../languages/language.js";

/** @import {App} from "./app-shell.js" */
/** @import {Choice} from "./menu.js" */

/** @param {App} app @param {string} chat_id @returns {readonly Choice[]} */
export function chatChoices(app, chat_id) {
  const { chats, sending } = app;
  const chat = chats.of(chat_id);
  if (!chat.newest) return [];
  if (sending.isUnread(chat)) return [{ label: texts.messages.markAsRead, choose: () => sending.readAll(chat_id) }];
  const markUnread = () => {
    if (chat_id === chats.openChat) app.close();
    sending.markUnread(chat_id);
  };
  return [{ label: texts.chats.markAsUnread, choose: markUnread }];
}
