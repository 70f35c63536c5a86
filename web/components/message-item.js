// One message: its bubble with its state and, at the end of a group, its time; beside an active message its buttons,
// and always its time; below the bubble the reactions, and the remedies of a failed message.

import { displayName, exactTime, isOnlyEmoji, nameList, timeOfDay, withLinks } from "../format.js";
import { icon } from "../icons.js";
import { texts } from "../languages/language.js";
import { placeIn } from "../links.js";
import { progress } from "../messages.js";
import { h, memo } from "../view.js";
import { iconButton } from "./buttons.js";
import { openMessageMenu } from "./message-menu.js";
import { pickReaction } from "./reaction-picker.js";

/** @import {App} from "./app-shell.js" */
/** @import {Message} from "../types.js" */
/** @import {ReactionTally} from "../wire.js" */
/** @import {Row} from "../messages.js" */

/** The icons of the states of the user's own messages. */
const STATE_ICONS = /** @type {const} */ ({
  waiting: "clock",
  sending: "clock",
  sent: "tick",
  delivered: "ticks",
  read: "ticks",
});

/**
 * @param {App} app
 * @param {Extract<Row, {kind: "message"}>} row
 * @param {{isActive: boolean, isFocused: boolean, isMarked: boolean}} state The active messages are the focused one,
 * whose links and buttons are in the tab order, and the message under the pointer. A marked message was opened by a link.
 */
export function messageItem(app, { key, message, own, first, last }, { isActive, isFocused, isMarked }) {
  const { chats } = app;
  const profile = chats.profiles.get(message.sender_id);
  const author = own ? texts.message.you : profile ? displayName(profile) : texts.message.someone;
  const state = own && message.state !== "failed" ? stateOf(app, message) : null;
  const reactions = message.reactions.map((tally) => ({ ...tally, names: namesOf(app, tally) }));
  const names = reactions.map((reaction) => reaction.names).join("\n");
  return memo(key, [message, first, last, author, state, names, isActive, isFocused, isMarked], () => {
    const tabindex = isFocused ? 0 : -1;
    const looks = { own, first, marked: isMarked, read: state === "read", [message.state]: true };
    const toggle = (/** @type {string} */ emoji) => app.sending.toggleReaction(message, emoji);
    return h(
      "rookery-message",
      {
        class: ["message", ...Object.entries(looks).flatMap(([look, isOn]) => (isOn ? look : []))].join(" "),
        ...{ role: "listitem", tabindex: -1, "data-key": key },
      },
      h(
        "div",
        { class: "line" },
        h(
          "div",
          { class: "bubble" },
          h("span", { class: "unseen" }, `${texts.message.by(author)} `),
          h("div", { class: "words", dir: "auto" }, text(message.body, tabindex), stamp(message, last, state)),
        ),
        isActive && aside(app, message, { last, tabindex, toggle }),
      ),
      reactions.length > 0 &&
        h(
          "div",
          { class: "reactions", key: "reactions" },
          reactions.map((reaction) => {
            const isMine = reaction.user_ids.includes(chats.me.user_id);
            return chip(reaction, { isMine, tabindex, press: () => toggle(reaction.emoji) });
          }),
        ),
      message.state === "failed" && remedies(app, message),
    );
  });
}

/** The text with its links; its paragraphs have their own directions. @param {string} body @param {number} tabindex */
function text(body, tabindex) {
  const link = (/** @type {string} */ text, /** @type {string} */ url) =>
    h("a", { href: url, target: leadsHere(url) ? null : "_blank", rel: "noopener noreferrer", tabindex }, text);
  const pieces = withLinks(body).map(({ text, url }) => (url ? link(text, url) : text));
  return h("span", { class: isOnlyEmoji(body) ? "text large" : "text" }, pieces);
}

/** Whether an address links to a message on this page. @param {string} url */
const leadsHere = (url) => url.startsWith(`${location.origin}/#`) && placeIn(new URL(url).hash).message_id !== "";

/**
 * The time of the last message of a group, and the state of the user's own message.
 * @param {Message} message
 * @param {boolean} last
 * @param {keyof typeof STATE_ICONS | null} state
 */
function stamp(message, last, state) {
  const sign = state && [icon(STATE_ICONS[state]), h("span", { class: "unseen" }, ` ${texts.state[state]}`)];
  const title = state ? texts.message.stateAt(exactTime(message.at_ms), texts.state[state]) : exactTime(message.at_ms);
  return (last || sign) && h("span", { class: "stamp", title }, last && time(message), sign);
}

/** @param {Message} message */
const time = ({ at_ms }) =>
  h("time", { datetime: new Date(at_ms).toISOString() }, timeOfDay(at_ms));

/**
 * @param {App} app
 * @param {Message} message
 * @param {{last: boolean, tabindex: number, toggle: (emoji: string) => void}} how
 */
function aside(app, message, { last, tabindex, toggle }) {
  const buttons = [
    button(texts.message.react, "react", "dialog", tabindex, (opener) => pickReaction(opener, toggle)),
    button(texts.message.more, "menu", "menu", tabindex, (opener) => openMessageMenu(app, message, opener)),
  ];
  const props = { class: "aside", title: exactTime(message.at_ms) };
  return h("div", props, !last && time(message), message.state === "accepted" && buttons);
}

/**
 * A button that opens a dialog or a menu.
 * @param {string} label
 * @param {Parameters<typeof icon>[0]} name of its icon
 * @param {"dialog" | "menu"} kind of the opened popup
 * @param {number} tabindex
 * @param {(opener: HTMLElement) => void} open
 */
function button(label, name, kind, tabindex, open) {
  const onclick = (/** @type {Event} */ event) => open(/** @type {HTMLElement} */ (event.currentTarget));
  return iconButton(label, name, null, { "aria-haspopup": kind, "aria-expanded": "false", tabindex, onclick });
}

/**
 * @param {ReactionTally & {names: string}} reaction
 * @param {{isMine: boolean, tabindex: number, press: () => void}} state
 */
function chip({ emoji, user_ids, names }, { isMine, tabindex, press }) {
  const label = texts.reaction.count(user_ids.length, emoji);
  return h(
    "button",
    {
      ...{ key: emoji, type: "button", title: names, "aria-label": texts.reaction.countBy(label, names) },
      ...{ "aria-pressed": String(isMine), tabindex, onclick: press },
    },
    label,
  );
}

/** @param {App} app @param {ReactionTally} tally */
function namesOf({ chats }, { user_ids }) {
  const unknown = { display_name: "", name: texts.reaction.someone };
  const nameOf = (/** @type {string} */ id) => displayName(chats.profiles.get(id) ?? unknown);
  return nameList(user_ids.map((id) => (id === chats.me.user_id ? texts.reaction.you : nameOf(id))));
}

/** @param {App} app @param {Message} message @returns {keyof typeof STATE_ICONS} */
function stateOf({ chats, sync }, message) {
  if (message.state === "pending") return sync.isReachable ? "sending" : "waiting";
  return progress(message, chats.of(message.chat_id).marks, chats.me.user_id);
}

/** The reason of a failed message, and its remedies. @param {App} app @param {Message} message */
function remedies({ sending }, message) {
  const retry = { class: "text-button", type: "button", onclick: () => sending.retry(message) };
  const discard = { class: "text-button soft", type: "button", onclick: () => sending.discard(message) };
  return h(
    "div",
    { class: "remedies", key: "remedies" },
    h("span", {}, texts.message.notSent),
    h("span", { class: "reason" }, message.error),
    h("button", retry, texts.tryAgain),
    h("button", discard, texts.message.delete),
  );
}
