// The message to which another one replies, or that is being edited: its author and its text in one line each.

import { displayName } from "../format.js";
import { isDeleted } from "../kinds/deleted.js";
import { isHidden } from "../kinds/hidden.js";
import { texts } from "../languages/language.js";
import { shownPlain } from "../messages.js";
import { h } from "../view.js";

/** @import {App} from "./app-shell.js" */

/** Shown characters of a text: more than fit in a line. */
const SHOWN_LENGTH = 200;

/**
 * The parts of a message in a quote. The message is loaded if necessary; until then its author and text are empty. It
 * is not there if the user can't read it, or has hidden it: the chat does not show it then.
 * @typedef {{author: string, isOwn: boolean, text: string, isMuted: boolean, isThere: boolean}} Quoted
 */

/** @param {App} app @param {string} chat_id @param {string} message_id @returns {Quoted} */
export function quotedIn({ chats, sending }, chat_id, message_id) {
  const message = chats.quotes.get(chat_id, message_id);
  const missing = { author: "", isOwn: false, isMuted: true };
  if (!message) return { ...missing, text: message === null ? texts.quote.missing : "", isThere: message !== null };
  const isOwn = message.sender_id === chats.me.user_id;
  const profile = chats.profiles.get(message.sender_id);
  const author = isOwn ? texts.message.you : profile ? displayName(profile) : texts.message.someone;
  const shown = sending.shown(message);
  const isThere = !isHidden(shown);
  const text = isThere ? shownPlain(shown, chats.profiles).slice(0, SHOWN_LENGTH) : texts.quote.hidden;
  return { author, isOwn, text, isMuted: !isThere || isDeleted(shown), isThere };
}

/** The lines of a quote below its heading. @param {string} heading @param {Quoted} quoted */
export function quote(heading, { text, isMuted }) {
  return [
    h("strong", { dir: "auto" }, heading || "\u00a0"),
    h("span", { class: isMuted ? "quoted muted" : "quoted", dir: "auto" }, text || "\u00a0"),
  ];
}
