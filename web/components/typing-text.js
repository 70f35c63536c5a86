// The line about the users who are typing in a chat.

import { isGroup } from "../ids.js";
import { texts } from "../languages/language.js";

/** @import {Chats} from "../stores/chats.js" */

/** Empty if nobody is typing. @param {Chats} chats @param {string} chat_id */
export function typingText(chats, chat_id) {
  const users = chats.typing.of(chat_id);
  if (!users.length || !isGroup(chat_id)) return users.length ? texts.typing : "";
  const [name = "", other = ""] = users.map((user_id) => chats.profiles.nameOf(user_id) || texts.message.someone);
  const { one, two, more } = texts.typingIn;
  if (users.length === 1) return one(name);
  return users.length === 2 ? two(name, other) : more(users.length - 1, name);
}
