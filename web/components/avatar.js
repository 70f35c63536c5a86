// An avatar: the picture of a user or a group, or their initials on their colour.

import { avatarColour, displayName, initials } from "../format.js";
import { isGroup } from "../ids.js";
import { texts } from "../languages/language.js";
import { h } from "../view.js";

/** @import {Chats} from "../stores/chats.js" */
/** @import {Profile} from "../types.js" */

/** The edges of a picture as the server has it, in pixels: in lists, and above a profile. */
const SMALL = 96;
export const LARGE = 512;
/** A picture that fails is loaded once more after this time and up to as much again, in milliseconds: the server may be too busy. */
const PAUSE_MS = 4_000;

/**
 * The container sets the size. Hidden from screen readers: the name is always beside it.
 * @param {Omit<Profile, "about"> | undefined} profile undefined while it is loading
 * @param {boolean} [isOnline] adds a dot; `onlineWord` belongs beside the name
 * @param {number} [edge] SMALL or LARGE
 */
export function avatar(profile, isOnline = false, edge = SMALL) {
  const look = profile ? `colour-${avatarColour(profile.user_id)}` : "skeleton";
  return face(isOnline ? `${look} online` : look, profile ? displayName(profile) : "", profile?.avatar, edge);
}

/** For screen readers, which don't see the dot of the avatar. @param {boolean} isOnline */
export const onlineWord = (isOnline) => isOnline && h("span", { class: "unseen" }, ` ${texts.seen.online} `);

/**
 * @param {string} chat_id of a group
 * @param {string} name empty while it is loading
 * @param {string} [token] of its picture
 * @param {number} [edge] SMALL or LARGE
 */
export const groupAvatar = (chat_id, name, token, edge = SMALL) =>
  face(name ? `group colour-${avatarColour(chat_id)}` : "group skeleton", name, token, edge);

/** The avatar of a group, or of the other member. @param {Chats} chats @param {string} chat_id */
export const chatAvatar = (chats, chat_id) =>
  isGroup(chat_id)
    ? groupAvatar(chat_id, chats.titleOf(chat_id), chats.pictureOf(chat_id))
    : avatar(chats.partner(chat_id), chats.presence.isOnline(chats.otherOf(chat_id)));

/**
 * The picture covers the initials once it is loaded.
 * @param {string} look
 * @param {string} name
 * @param {string | undefined} token
 * @param {number} edge
 */
const face = (look, name, token, edge) =>
  h(
    "span",
    { class: `avatar ${look}`, "aria-hidden": "true" },
    name && initials(name),
    token && h("img", { key: token, src: `/avatars/${token}?size=${edge}`, alt: "", onerror: loadAgain }),
  );

/** The fragment marks the second address. @param {Event} event */
function loadAgain({ target }) {
  const picture = /** @type {HTMLImageElement} */ (target);
  if (picture.src.endsWith("#")) return;
  setTimeout(() => (picture.src += "#"), PAUSE_MS * (1 + Math.random()));
}
