// The messages of a chat with a change of a listed kind, such as a pin, the signs on them, and the banner with the message
// that was pinned last.

import { displayName } from "../format.js";
import { icon } from "../icons.js";
import { compareIds } from "../ids.js";
import { isHidden } from "../kinds/hidden.js";
import { LISTED, LISTED_KINDS, setOf } from "../kinds/listed.js";
import { texts } from "../languages/language.js";
import { h, memo } from "../view.js";
import { iconButton } from "./buttons.js";
import { openDialog } from "./open-dialog.js";
import { quote, quotedIn } from "./quote.js";

/** @import {App} from "./app-shell.js" */
/** @import {ListedKind} from "../kinds/listed.js" */
/** @import {MessageActions} from "./message-menu.js" */
/** @import {Message} from "../types.js" */

/** @typedef {Pick<MessageActions, "goTo" | "isBlocked">} ListedActions */

/**
 * The messages of a list that are loaded, as shown, the newest message first.
 * @param {Pick<App, "chats" | "sending">} app
 * @param {string} chat_id
 * @param {ListedKind} kind
 */
export function listedIn({ chats, sending }, chat_id, kind) {
  const waiting = sending.changes.of(chat_id).flatMap(({ change }) => (change[kind] && change.target_id) || []);
  const messages = [...new Set([...chats.listed[kind].of(chat_id).ids, ...waiting])].flatMap((message_id) => {
    const message = chats.quotes.get(chat_id, message_id);
    return message ? sending.shown(message) : [];
  });
  const listed = messages.filter((message) => setOf(message, kind) && !isHidden(message));
  return listed.sort((a, b) => compareIds(b.message_id, a.message_id));
}

/**
 * A sentence that names the actor of a pin, or of another listed kind; empty if it is not set.
 * @param {Pick<App, "chats">} app
 * @param {Message} message
 * @param {ListedKind} kind
 */
export function signText({ chats }, message, kind) {
  const event = setOf(message, kind);
  if (!event) return "";
  const { actor_id = "" } = event.change;
  const profile = chats.profiles.get(actor_id);
  const sentences = texts.listed[kind];
  if (actor_id === chats.me.user_id || !("by" in sentences)) return sentences.byYou; // of a private kind, it always is
  return profile ? sentences.by(displayName(profile)) : sentences.bySomeone;
}

/** The texts of all signs of a message. @param {App} app @param {Message} message */
export const signTexts = (app, message) => LISTED_KINDS.map((kind) => signText(app, message, kind));

/** The signs of a message. @param {readonly string[]} signTexts */
export const signs = (signTexts) =>
  LISTED_KINDS.map((kind, at) => {
    const text = signTexts[at];
    return (
      text && h("span", { class: "sign", title: text }, icon(LISTED[kind]), h("span", { class: "unseen" }, ` ${text} `))
    );
  });

/**
 * Opens the list of a chat's messages with a kind.
 * @param {App} app
 * @param {string} chat_id
 * @param {ListedKind} kind
 * @param {ListedActions} actions
 */
export function openListed(app, chat_id, kind, actions) {
  const load = () => import("./listed-dialog.js");
  void openDialog(app, load, ({ ListedDialog }) => new ListedDialog(app, chat_id, kind, actions));
}

/**
 * The message that was pinned last, in one line, and a button for the list of all. Nothing if none is pinned.
 * @param {App} app
 * @param {string} chat_id
 * @param {ListedActions} actions
 */
export function pinBanner(app, chat_id, actions) {
  const [last] = listedIn(app, chat_id, "pinned").sort((a, b) => compareIds(pinnedAt(b), pinnedAt(a)));
  if (!last) return null;
  const { message_id } = last;
  const quoted = quotedIn(app, chat_id, message_id);
  const openAll = () => openListed(app, chat_id, "pinned", actions);
  const go = { class: "quote", type: "button", onclick: () => actions.goTo(message_id) };
  return memo("pinned", [message_id, quoted.text], () =>
    h(
      "div",
      { class: "pin-banner" },
      h("button", go, quote(texts.chat.pinned, quoted)),
      iconButton(texts.listed.pinned.title, LISTED.pinned, openAll, { "aria-haspopup": "dialog" }),
    ),
  );
}

/** @param {Message} message */
const pinnedAt = (message) => setOf(message, "pinned")?.event_id ?? "0";
