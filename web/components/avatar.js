// An avatar: the user's initials on the user's colour.

import { h } from "../dom.js";
import { avatarColour, displayName, initials } from "../format.js";
import { h as describe } from "../view.js";

/** @import {Profile} from "../types.js" */

/** The container sets the size. Hidden from screen readers: the name is always beside it. */
export function avatar() {
  return h("span", { class: "avatar", "aria-hidden": "true" });
}

/**
 * @param {HTMLElement} element from `avatar`
 * @param {Omit<Profile, "about"> | undefined} profile undefined while it is loading
 */
export function showAvatar(element, profile) {
  element.className = profile ? `avatar colour-${avatarColour(profile.user_id)}` : "avatar skeleton";
  element.textContent = profile ? initials(displayName(profile)) : "";
}

/** An avatar in a view. @param {Omit<Profile, "about"> | undefined} profile undefined while it is loading */
export function avatarView(profile) {
  const look = profile ? `colour-${avatarColour(profile.user_id)}` : "skeleton";
  return describe(
    "span",
    { class: `avatar ${look}`, "aria-hidden": "true" },
    profile ? initials(displayName(profile)) : "",
  );
}
