// One message: its bubble with the message it replies to, its state and, at the end of a run, its time; in a group, at the
// start of a run, the name and the avatar of the sender; beside an active message its buttons, and always its time; below
// the bubble its reactions, or the remedies of a failed message.

import { displayName, exactTime, nameList, timeOfDay } from "../format.js";
import { icon } from "../icons.js";
import { isGroup } from "../ids.js";
import { isDeleted } from "../kinds/deleted.js";
import { editedAt, mentionsOf } from "../kinds/edited.js";
import { progress } from "../kinds/progress.js";
import { reactionsOf } from "../kinds/reacted.js";
import { texts } from "../languages/language.js";
import { mentionedNames, shownText } from "../messages.js";
import { h, memo } from "../view.js";
import { avatar } from "./avatar.js";
import { iconButton } from "./buttons.js";
import { filesState, filesView } from "./files-later.js";
import { formatted } from "./formatted.js";
import { linkCard } from "./link-card.js";
import { signs, signTexts } from "./listed.js";
import { openEdits, openMessageMenu } from "./message-menu.js";
import { openProfile } from "./open-dialog.js";
import { quote, quotedIn } from "./quote.js";
import { pickReaction } from "./reaction-picker.js";

/** @import {App} from "./app-shell.js" */
/** @import {MessageActions} from "./message-menu.js" */
/** @import {Quoted} from "./quote.js" */
/** @import {Tally} from "../kinds/reacted.js" */
/** @import {Message} from "../types.js" */
/** @import {Row} from "../days.js" */
/** @import {Child} from "../view.js" */

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
 * @param {{isActive: boolean, isFocused: boolean, isMarked: boolean, mayReact: boolean}} state The active messages are the focused one,
 * whose links and buttons are in the tab order, and the message under the pointer. A marked message was opened by a link.
 * @param {MessageActions} actions
 */
export function messageItem(app, { key, message, own, first, last }, { isActive, isFocused, isMarked, mayReact }, actions) {
  const { chats } = app;
  const profile = chats.profiles.get(message.sender_id);
  const author = own ? texts.message.you : profile ? displayName(profile) : texts.message.someone;
  const state = own && message.state !== "failed" ? stateOf(app, message) : null;
  const reactions = reactionsOf(message).map((tally) => ({ ...tally, names: namesOf(app, tally) }));
  const names = reactions.map((reaction) => reaction.names).join("\n");
  const quoted = message.reply_to ? quotedIn(app, message.chat_id, message.reply_to) : null;
  const mentioned = mentionedNames(message, chats.profiles);
  const signed = signTexts(app, message);
  const isInGroup = !own && isGroup(message.chat_id);
  const isNamed = isInGroup && first;
  const deps = [message, first, last, author, isNamed && profile?.avatar, state, names, mentioned, ...signed, isActive, isFocused, isMarked, mayReact];
  const files = filesState(app, message);
  return memo(key, [...deps, quoted?.author, quoted?.text, quoted?.isMuted, quoted?.isThere, files], () => {
    const tabindex = isFocused ? 0 : -1;
    const isWaiting = message.state === "pending" || message.isChanging;
    const isFailed = message.state === "failed";
    const looks = {
      ...{ own, first, "in-group": isInGroup, marked: isMarked },
      ...{ read: state === "read", pending: isWaiting, failed: isFailed },
    };
    const toggle = (/** @type {string} */ emoji) => app.sending.toggleReaction(message, emoji);
    return h(
      "rookery-message",
      {
        class: ["message", ...Object.entries(looks).flatMap(([look, isOn]) => (isOn ? look : []))].join(" "),
        ...{ role: "listitem", tabindex: -1, "data-key": key },
      },
      isNamed && avatar(profile),
      h(
        "div",
        { class: "line" },
        h(
          "div",
          { class: message.files.length ? "bubble with-files" : "bubble" },
          isNamed ? name(app, message, author, tabindex) : h("span", { class: "unseen" }, `${texts.message.by(author)} `),
          message.forwarded && h("div", { class: "forwarded" }, icon("forward"), texts.message.forwarded),
          quoted && reference(quoted, tabindex, () => actions.goTo(message.reply_to)),
          filesView(app, message, tabindex, actions.goTo),
          h(
            "div",
            { class: "words", dir: "auto" },
            messageText(app, message, tabindex),
            linkCard(message, tabindex),
            stamp(message, { last, state, signed, edits: () => edits(app, message, tabindex) }),
          ),
        ),
        isActive && aside(app, message, { last, tabindex, toggle: mayReact && !isDeleted(message) ? toggle : null, actions }),
      ),
      reactions.length > 0 &&
        h(
          "div",
          { class: "reactions", key: "reactions" },
          reactions.map((reaction) => {
            const isMine = reaction.user_ids.includes(chats.me.user_id);
            return chip(reaction, { isMine, mayReact, tabindex, press: () => toggle(reaction.emoji) });
          }),
        ),
      isFailed && remedies(app, message),
    );
  });
}

/**
 * The name of the sender above the first message of several, which opens the profile.
 * @param {App} app
 * @param {Message} message
 * @param {string} author
 * @param {number} tabindex
 */
function name(app, { sender_id }, author, tabindex) {
  const props = { class: "author", type: "button", title: texts.chat.profile, tabindex };
  return h("button", { ...props, onclick: () => openProfile(app, sender_id) }, h("bdi", {}, author));
}

/**
 * The message to which another one replies; a button if the chat shows it.
 * @param {Quoted} quoted
 * @param {number} tabindex
 * @param {() => void} press
 */
function reference(quoted, tabindex, press) {
  const { of, ofOwn } = texts.quote;
  const lines = quote(quoted.isOwn ? ofOwn : quoted.author && of(quoted.author), quoted);
  const props = { class: "quote", key: "quote" };
  if (!quoted.isThere) return h("div", props, lines);
  return h("button", { ...props, type: "button", tabindex, onclick: press }, lines);
}

/**
 * The text with its markup; its paragraphs have their own directions.
 * @param {App} app
 * @param {Message} message as shown
 * @param {number} tabindex
 */
export function messageText(app, message, tabindex) {
  const body = shownText(message);
  if (!body) return null;
  if (isDeleted(message)) return h("span", { class: "text muted" }, body);
  const { me, profiles } = app.chats;
  return formatted(body, {
    tabindex,
    copy: (code) => void copyCode(app, code),
    mentions: mentionsOf(message),
    nameOf: (mention) => profiles.mentioned(mention),
    me: me.user_id,
    open: (user_id) => openProfile(app, user_id),
  });
}

/** @param {App} app @param {string} code */
async function copyCode(app, code) {
  app.notify((await app.copyText(code)) ? texts.message.codeCopied : texts.message.notCopied);
}

/**
 * The signs of the message, such as a pin, whether it was edited, the time of the last message of a run, and the state of
 * the user's own message.
 * @param {Message} message
 * @param {{last: boolean, state: keyof typeof STATE_ICONS | null, signed: string[], edits: () => Child}} parts
 */
function stamp(message, { last, state, signed, edits }) {
  const progress = state && [icon(STATE_ICONS[state]), h("span", { class: "unseen" }, ` ${texts.state[state]}`)];
  const title = state ? texts.message.stateAt(exactTime(message.at_ms), texts.state[state]) : exactTime(message.at_ms);
  const isEdited = editedAt(message) > 0;
  return (
    (last || progress || isEdited || signed.some(Boolean)) &&
    h("span", { class: "stamp", title }, signs(signed), isEdited && edits(), last && time(message), progress)
  );
}

/** The button that opens the history of edits. @param {App} app @param {Message} message @param {number} tabindex */
function edits(app, message, tabindex) {
  const title = texts.message.editedAt(exactTime(editedAt(message)));
  const props = { class: "edited", type: "button", "aria-haspopup": "dialog", title, tabindex };
  return h("button", { ...props, onclick: () => openEdits(app, message) }, texts.message.edited);
}

/** @param {Message} message */
const time = ({ at_ms }) =>
  h("time", { datetime: new Date(at_ms).toISOString() }, timeOfDay(at_ms));

/**
 * @param {App} app
 * @param {Message} message
 * @param {{last: boolean, tabindex: number, toggle: ((emoji: string) => void) | null, actions: MessageActions}} how
 * toggle: null if the user can't react
 */
function aside(app, message, { last, tabindex, toggle, actions }) {
  const buttons = [
    toggle && button(texts.message.react, "react", "dialog", tabindex, (opener) => pickReaction(opener, toggle)),
    button(texts.message.more, "menu", "menu", tabindex, (opener) => openMessageMenu(app, message, opener, actions)),
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
 * @param {Tally & {names: string}} reaction
 * @param {{isMine: boolean, mayReact: boolean, tabindex: number, press: () => void}} state
 */
function chip({ emoji, user_ids, names }, { isMine, mayReact, tabindex, press }) {
  const label = texts.reaction.count(user_ids.length, emoji);
  return h(
    "button",
    {
      ...{ key: emoji, type: "button", title: names, "aria-label": texts.reaction.countBy(label, names) },
      ...{ "aria-pressed": String(isMine), tabindex, disabled: !mayReact, onclick: press },
    },
    label,
  );
}

/** @param {App} app @param {Tally} tally */
function namesOf({ chats }, { user_ids }) {
  const unknown = { display_name: "", name: texts.reaction.someone };
  const nameOf = (/** @type {string} */ id) => displayName(chats.profiles.get(id) ?? unknown);
  return nameList(user_ids.map((id) => (id === chats.me.user_id ? texts.reaction.you : nameOf(id))));
}

/** @param {App} app @param {Message} message @returns {keyof typeof STATE_ICONS} */
function stateOf({ chats, sync }, message) {
  if (message.state === "pending" || message.isChanging) return sync.isReachable ? "sending" : "waiting";
  const { user_id, shows_read_marks } = chats.me;
  const { chat_id } = message;
  const reached = progress(message, chats.of(chat_id), user_id, chats.rosters.of(chat_id).members);
  if (shows_read_marks !== false) return reached;
  if (isGroup(chat_id)) return "sent"; // what is known is from before the user hid their read marks
  return reached === "read" ? "delivered" : reached;
}

/** Whether a message has more than the file that could not be sent. @param {Message} message */
const hasMore = ({ body, files }) => files.some(({ has_failed }) => has_failed) && (body !== "" || files.length > 1);

/** The reason of a failed message, and its remedies. @param {App} app @param {Message} message */
function remedies({ sending }, message) {
  const retry = { class: "text-button", type: "button", onclick: () => sending.retry(message) };
  const without = { class: "text-button", type: "button", onclick: () => sending.sendWithout(message) };
  const discard = { class: "text-button soft", type: "button", onclick: () => sending.discard(message) };
  return h(
    "div",
    { class: "remedies", key: "remedies" },
    h("span", {}, texts.message.notSent),
    h("span", { class: "reason" }, message.error),
    h("button", retry, texts.tryAgain),
    hasMore(message) && h("button", without, texts.message.sendWithout),
    h("button", discard, texts.message.delete),
  );
}
