// The icon of the page: a dot while chats have unread messages; on an installed app the number of these chats.

import { asset } from "./asset.js";

const ICON = asset("icon.svg");
const UNREAD_ICON = asset("icon-unread.svg");

/** Not known at first: an earlier page may have left a number. */
let shown = -1;

/** @param {number} count of chats with unread messages */
export function showBadge(count) {
  if (count === shown) return;
  shown = count;
  document.querySelector("link[rel=icon]")?.setAttribute("href", count ? UNREAD_ICON : ICON);
  void navigator.setAppBadge?.(count).catch(() => {}); // the browser shows no number, or only for an installed app
}
