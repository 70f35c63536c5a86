// The dialog that chooses of which messages of a chat this user's devices notify, and for how long.

import { fullTime } from "../format.js";
import { isGroup } from "../ids.js";
import { FOR_EVER } from "../kinds/own.js";
import { dialogTexts } from "../languages/dialogs.js";
import { texts } from "../languages/language.js";
import { h } from "../view.js";
import { FormModal } from "./modal.js";

/** @import {App} from "./app-shell.js" */
/** @import {Muted} from "../wire.js" */

const HOUR_MS = 60 * 60 * 1000;
/** The times for which a choice can last, in milliseconds. */
const TIMES = { hour: HOUR_MS, hours: 8 * HOUR_MS, week: 7 * 24 * HOUR_MS };
/** The last time that a browser can show. A mute that another client set may end later: the page shows it as one for ever. */
const LAST_MS = 8.64e15;

/** @typedef {"all" | "mentions" | "nothing"} Wanted the messages to be notified of */

export class ChatNotifications extends FormModal {
  /** @param {Pick<App, "chats" | "sending">} app @param {string} chat_id */
  constructor({ chats, sending }, chat_id) {
    const { mute } = sending.own(chats.of(chat_id));
    const mayMention = isGroup(chat_id);
    let wanted = wantedBy(mute, mayMention);
    const { messages, wantedOnes, save } = dialogTexts.notifications;
    const choose = (/** @type {Event} */ event) => {
      wanted = /** @type {Wanted} */ (/** @type {HTMLInputElement} */ (event.target).value);
      this.root.invalidate();
    };
    const ones = /** @type {Wanted[]} */ (mayMention ? ["all", "mentions", "nothing"] : ["all", "nothing"]);
    const choices = ones.map((one) => radio("wanted", one, wantedOnes[one], { checked: one === wanted, autofocus: one === wanted, onchange: choose }));
    const set = async (/** @type {Record<string, string>} */ { end = "" }) => {
      if (wanted !== "all") sending.setOwn(chat_id, { muted: { until_ms: endOf(end, chats.clock.now_ms()), except_mentions: wanted === "mentions" } });
      else if (mute) sending.setOwn(chat_id, { muted: { until_ms: "0" } });
    };
    const ends = endChoices(mute);
    const lasting = () => group(dialogTexts.notifications.howLong, ends, { key: "ends", hidden: wanted === "all" });
    super(texts.chats.notifications, save, [], set, group(messages, choices, { key: "wanted" }), lasting);
    this.element.classList.add("chat-notifications");
  }
}

/** @param {Muted | null} mute @param {boolean} mayMention @returns {Wanted} */
function wantedBy(mute, mayMention) {
  if (!mute) return "all";
  return mute.except_mentions && mayMention ? "mentions" : "nothing";
}

/** The present end is the first choice, if there is one. @param {Muted | null} mute */
function endChoices(mute) {
  const { lasts, until } = dialogTexts.notifications;
  const present = mute?.until_ms ?? FOR_EVER;
  const hasEnd = Number(present) <= LAST_MS;
  return [
    hasEnd && radio("end", present, until(fullTime(Number(present))), { checked: true }),
    ...Object.keys(TIMES).map((name) => radio("end", name, lasts[/** @type {keyof typeof TIMES} */ (name)])),
    radio("end", FOR_EVER, lasts.ever, { checked: !hasEnd }),
  ];
}

/**
 * The end in milliseconds since 1970.
 * @param {string} end a time in milliseconds, or the name of one of `TIMES`
 * @param {number} now_ms
 */
function endOf(end, now_ms) {
  return end in TIMES ? String(now_ms + TIMES[/** @type {keyof typeof TIMES} */ (end)]) : end;
}

/** @param {string} legend @param {import("../view.js").Children} radios @param {Record<string, unknown>} props */
const group = (legend, radios, props) => h("fieldset", { class: "choices", ...props }, h("legend", {}, legend), radios);

/** @param {string} name @param {string} value @param {string} words @param {Record<string, unknown>} [props] of the input */
const radio = (name, value, words, props = {}) =>
  h("label", { class: "choice", key: value }, h("input", { type: "radio", name, value, ...props }), words);
