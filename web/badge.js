// The icon of the page: a dot while chats have unread messages; on an installed app the number of these chats.

const ICON = new URL("icon.svg", import.meta.url).href;
const UNREAD_ICON = new URL("icon-unread.svg", import.meta.url).href;

let shown = 0;

/** @param {number} count of chats with unread messages */
export function showBadge(count) {
  if (count === shown) return;
  shown = count;
  document.querySelector("link[rel=icon]")?.setAttribute("href", count ? UNREAD_ICON : ICON);
  void navigator.setAppBadge?.(count).catch(() => {}); // the browser shows no number, or only for an installed app
}
