// An avatar: the initials of a user or a group on their colour.

import { avatarColour, displayName, initials } from "../format.js";
import { isGroup } from "../ids.js";
import { texts } from "../languages/language.js";
import { h } from "../view.js";

/** @import {Chats} from "../stores/chats.js" */
/** @import {Profile} from "../types.js" */

/**
 * The container sets the size. Hidden from screen readers: the name is always beside it.
 * @param {Omit<Profile, "about"> | undefined} profile undefined while it is loading
 * @param {boolean} [isOnline] adds a dot; `onlineWord` belongs beside the name
 */
export function avatar(profile, isOnline = false) {
  const look = profile ? `colour-${avatarColour(profile.user_id)}` : "skeleton";
  return face(isOnline ? `${look} online` : look, profile ? displayName(profile) : "");
}

/** For screen readers, which don't see the dot of the avatar. @param {boolean} isOnline */
export const onlineWord = (isOnline) => isOnline && h("span", { class: "unseen" }, ` ${texts.seen.online} `);

/** The placeholder of a group's picture. @param {string} chat_id @param {string} name empty while it is loading */
export const groupAvatar = (chat_id, name) =>
  face(name ? `group colour-${avatarColour(chat_id)}` : "group skeleton", name);

/** The avatar of a group, or of the other member. @param {Chats} chats @param {string} chat_id */
export const chatAvatar = (chats, chat_id) =>
  isGroup(chat_id)
    ? groupAvatar(chat_id, chats.titleOf(chat_id))
    : avatar(chats.partner(chat_id), chats.presence.isOnline(chats.otherOf(chat_id)));

/** @param {string} look @param {string} name */
const face = (look, name) =>
  h("span", { class: `avatar ${look}`, "aria-hidden": "true" }, name && initials(name));
