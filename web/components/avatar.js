// A person's initials on their colour.

import { h } from "../dom.js";
import { avatarColour, displayName, initials } from "../format.js";

/** @import {Profile} from "../types.js" */

/** The size comes from where it stands. The name is always said beside it. */
export function avatar() {
  return h("span", { class: "avatar", "aria-hidden": "true" });
}

/**
 * @param {HTMLElement} element from `avatar`
 * @param {Omit<Profile, "about"> | undefined} profile undefined while it is not known
 */
export function showAvatar(element, profile) {
  element.className = profile ? `avatar colour-${avatarColour(profile.user_id)}` : "avatar skeleton";
  element.textContent = profile ? initials(displayName(profile)) : "";
}
