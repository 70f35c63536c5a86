// The pinned messages of a chat: the banner with the one that was pinned last, and the texts of a pin.

import { displayName } from "../format.js";
import { compareIds } from "../ids.js";
import { isHidden } from "../kinds/hidden.js";
import { pinOf } from "../kinds/pinned.js";
import { texts } from "../languages/language.js";
import { h, memo } from "../view.js";
import { iconButton } from "./buttons.js";
import { openDialog } from "./open-dialog.js";
import { quote, quotedIn } from "./quote.js";

/** @import {App} from "./app-shell.js" */
/** @import {Message} from "../types.js" */

/**
 * The pinned messages that are loaded, as shown, the newest message first.
 * @param {App} app
 * @param {string} chat_id
 */
export function pinnedIn({ chats, sending }, chat_id) {
  const waiting = sending.changes.of(chat_id).flatMap(({ change }) => (change.pinned && change.target_id) || []);
  const messages = [...new Set([...chats.pins.of(chat_id).ids, ...waiting])].flatMap((message_id) => {
    const message = chats.quotes.get(chat_id, message_id);
    return message ? sending.shown(message) : [];
  });
  const pinned = messages.filter((message) => pinOf(message) && !isHidden(message));
  return pinned.sort((a, b) => compareIds(b.message_id, a.message_id));
}

/** A sentence with the person who pinned the message; empty if it is not pinned. @param {App} app @param {Message} message */
export function pinnedBy({ chats }, message) {
  const pin = pinOf(message);
  if (!pin) return "";
  const { actor_id = "" } = pin.change;
  const profile = chats.profiles.get(actor_id);
  if (actor_id === chats.me.user_id) return texts.pins.byYou;
  return profile ? texts.pins.by(displayName(profile)) : texts.message.pinned;
}

/**
 * The message that was pinned last, in one line, and a button for the list of all. Nothing if none is pinned.
 * @param {App} app
 * @param {string} chat_id
 * @param {(message_id: string) => void} goTo
 */
export function pinBanner(app, chat_id, goTo) {
  const [last] = pinnedIn(app, chat_id).sort((a, b) => compareIds(pinnedAt(b), pinnedAt(a)));
  if (!last) return null;
  const { message_id } = last;
  const quoted = quotedIn(app, chat_id, message_id);
  const openAll = () => {
    const load = () => import("./pins-dialog.js");
    void openDialog(app, load, ({ PinsDialog }) => new PinsDialog(app, chat_id, goTo));
  };
  const go = { class: "quote", type: "button", onclick: () => goTo(message_id) };
  return memo("pinned", [message_id, quoted.text], () =>
    h(
      "div",
      { class: "pin-banner" },
      h("button", go, quote(texts.pins.banner, quoted)),
      iconButton(texts.pins.title, "pin", openAll, { "aria-haspopup": "dialog" }),
    ),
  );
}

/** @param {Message} message */
const pinnedAt = (message) => pinOf(message)?.event_id ?? "0";
