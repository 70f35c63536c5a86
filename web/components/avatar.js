// An avatar: the user's initials on the user's colour.

import { avatarColour, displayName, initials } from "../format.js";
import { h } from "../view.js";

/** @import {Profile} from "../types.js" */

/**
 * The container sets the size. Hidden from screen readers: the name is always beside it.
 * @param {Omit<Profile, "about"> | undefined} profile undefined while it is loading
 */
export function avatar(profile) {
  const look = profile ? `colour-${avatarColour(profile.user_id)}` : "skeleton";
  return h(
    "span",
    { class: `avatar ${look}`, "aria-hidden": "true" },
    profile ? initials(displayName(profile)) : "",
  );
}
