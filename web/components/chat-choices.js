// The choices of a chat's menu, and of its menu in the list.

import { texts } from "../languages/language.js";
import { openDialog } from "./open-dialog.js";

/** @import {App} from "./app-shell.js" */
/** @import {Chat} from "../types.js" */

/** @typedef {{label: string, choose: () => void}} Action a choice of the menu */

/** @param {App} app @param {string} chat_id @returns {readonly Action[]} */
export function chatChoices(app, chat_id) {
  const chat = app.chats.of(chat_id);
  return chat.newest ? [readChoice(app, chat), ...ownChoices(app, chat)] : [];
}

/** @param {App} app @param {Chat} chat @returns {Action} */
function readChoice(app, chat) {
  const { chats, sending } = app;
  const { chat_id } = chat;
  if (sending.isUnread(chat)) return { label: texts.messages.markAsRead, choose: () => sending.readAll(chat_id) };
  const markUnread = () => {
    if (chat_id === chats.openChat) app.close();
    sending.markUnread(chat_id);
  };
  return { label: texts.chats.markAsUnread, choose: markUnread };
}

/** The choices that change the user's own settings of the chat. @param {App} app @param {Chat} chat @returns {Action[]} */
function ownChoices(app, chat) {
  const { sending } = app;
  const { chat_id } = chat;
  const { pin, unpin, notifications, archive, unarchive, withoutPreviews, withPreviews } = texts.chats;
  const { isPinned, isArchived, isWithoutPreviews: set } = sending.own(chat);
  const load = () => import("./chat-notifications.js");
  const notify = () => void openDialog(app, load, ({ ChatNotifications }) => new ChatNotifications(app, chat_id));
  return [
    { label: isPinned ? unpin : pin, choose: () => sending.setOwn(chat_id, { chat_pinned: { set: !isPinned } }) },
    { label: notifications, choose: notify },
    { label: isArchived ? unarchive : archive, choose: () => sending.setOwn(chat_id, { archived: { set: !isArchived } }) },
    ...(chat.group?.settings.without_previews
      ? []
      : [{ label: set ? withPreviews : withoutPreviews, choose: () => sending.setOwn(chat_id, { without_previews: { set: !set } }) }]),
  ];
}
