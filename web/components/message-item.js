// One message: its bubble, its time on demand, the button to react, its reactions and its delivery state.

import { displayName, fullTime, isOnlyEmoji, timeOfDay, withLinks } from "../format.js";
import { icon } from "../icons.js";
import { progress } from "../messages.js";
import { h, memo } from "../view.js";
import { pickReaction } from "./reaction-picker.js";

/** @import {App} from "./app-shell.js" */
/** @import {Message} from "../types.js" */
/** @import {ReactionTally} from "../wire.js" */
/** @import {Row} from "../messages.js" */

/**
 * @param {App} app
 * @param {Extract<Row, {kind: "message"}>} row
 * @param {{isNewest: boolean, isFocused: boolean}} state isNewest: it is the user's last message in its state. The
 * buttons of the focused message are in the tab order.
 */
export function messageItem(app, { key, message, own, first }, { isNewest, isFocused }) {
  const { chats } = app;
  const profile = chats.profiles.get(message.sender_id);
  const author = own ? "You" : profile ? displayName(profile) : "Someone";
  const status = own && (isNewest || message.state === "failed") ? statusOf(app, message) : "";
  const reactions = message.reactions.map((tally) => ({ ...tally, names: namesOf(app, tally) }));
  const names = reactions.map((reaction) => reaction.names).join("\n");
  return memo(key, [message, first, author, status, names, isFocused], () => {
    const tabindex = isFocused ? 0 : -1;
    const toggle = (/** @type {string} */ emoji) => app.sending.toggleReaction(message, emoji);
    return h(
      "rookery-message",
      {
        class: ["message", own && "own", first && "first", message.state].filter(Boolean).join(" "),
        ...{ role: "listitem", tabindex: -1, "data-key": key },
      },
      h(
        "div",
        { class: "line" },
        h("div", { class: "bubble" }, h("span", { class: "unseen" }, `${author}: `), text(message.body)),
        h("div", { class: "aside" }, time(message), message.state === "accepted" && reactButton(toggle, tabindex)),
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
      status && meta(app, message, status),
    );
  });
}

/** The text with its links; its paragraphs have their own directions. @param {string} body */
function text(body) {
  const pieces = withLinks(body).map(({ text, url }) =>
    url ? h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, text) : text,
  );
  return h("span", { class: isOnlyEmoji(body) ? "text large" : "text", dir: "auto" }, pieces);
}

/** @param {Message} message */
const time = ({ at_ms }) =>
  h("time", { datetime: new Date(at_ms).toISOString(), title: fullTime(at_ms) }, timeOfDay(at_ms));

/** @param {(emoji: string) => void} picked @param {number} tabindex */
function reactButton(picked, tabindex) {
  const press = (/** @type {Event} */ event) =>
    pickReaction(/** @type {HTMLElement} */ (event.currentTarget), picked);
  const names = { "aria-label": "React", title: "React", "aria-haspopup": "dialog", "aria-expanded": "false" };
  return h("button", { class: "icon-button", type: "button", ...names, tabindex, onclick: press }, icon("react"));
}

/**
 * @param {ReactionTally & {names: string}} reaction
 * @param {{isMine: boolean, tabindex: number, press: () => void}} state
 */
function chip({ emoji, user_ids, names }, { isMine, tabindex, press }) {
  const label = `${emoji} ${user_ids.length}`;
  return h(
    "button",
    {
      ...{ key: emoji, type: "button", title: names, "aria-label": `${label}: ${names}` },
      ...{ "aria-pressed": String(isMine), tabindex, onclick: press },
    },
    label,
  );
}

/** @param {App} app @param {ReactionTally} tally */
function namesOf({ chats }, { user_ids }) {
  const unknown = { display_name: "", name: "someone" };
  const nameOf = (/** @type {string} */ id) => displayName(chats.profiles.get(id) ?? unknown);
  return user_ids.map((id) => (id === chats.me.user_id ? "you" : nameOf(id))).join(", ");
}

/** @param {App} app @param {Message} message */
function statusOf({ chats, sync }, message) {
  if (message.state === "failed") return "Not sent";
  if (message.state === "pending") return sync.isOnline ? "Sending…" : "Waiting to send";
  return `${timeOfDay(message.at_ms)} · ${progress(message, chats.of(message.chat_id).marks, chats.me.user_id)}`;
}

/**
 * The delivery state; of a failed message its reason and the remedies.
 * @param {App} app
 * @param {Message} message
 * @param {string} status
 */
function meta({ sending }, message, status) {
  const retry = { class: "text-button", type: "button", onclick: () => sending.retry(message) };
  const discard = { class: "text-button soft", type: "button", onclick: () => sending.discard(message) };
  return h(
    "div",
    { class: "meta", key: "meta" },
    h("span", { title: message.error }, status),
    message.state === "failed" && [
      h("span", { class: "reason" }, message.error),
      h("button", retry, "Try again"),
      h("button", discard, "Delete"),
    ],
  );
}
