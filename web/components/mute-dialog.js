// The dialog that mutes a chat.

import { FOR_EVER } from "../kinds/own.js";
import { dialogTexts } from "../languages/dialogs.js";
import { h } from "../view.js";
import { FormModal } from "./modal.js";

/** @import {App} from "./app-shell.js" */

const HOUR_MS = 60 * 60 * 1000;
/** Each time for which a chat can be muted, in milliseconds. */
const TIMES = { hour: HOUR_MS, hours: 8 * HOUR_MS, week: 7 * 24 * HOUR_MS, ever: Infinity };

export class MuteDialog extends FormModal {
  /** @param {Pick<App, "sending">} app @param {string} chat_id */
  constructor({ sending }, chat_id) {
    const { title, action, lasts, exceptMentions } = dialogTexts.mute;
    const choice = (/** @type {Record<string, unknown>} */ input, /** @type {string} */ words) =>
      h("label", { class: "choice", key: words }, h("input", input), words);
    const radios = Object.entries(TIMES).map(([name, ms], at) => {
      const input = { type: "radio", name: "ms", value: String(ms), checked: at === 0, autofocus: at === 0 };
      return choice(input, lasts[/** @type {keyof typeof TIMES} */ (name)]);
    });
    const mute = async (/** @type {Record<string, string>} */ { ms, except_mentions }) => {
      const until_ms = Date.now() + Number(ms);
      const muted = { until_ms: until_ms < Infinity ? String(until_ms) : FOR_EVER, except_mentions: except_mentions === "on" };
      sending.setOwn(chat_id, { muted });
    };
    const times = h("fieldset", { class: "choices" }, h("legend", { class: "unseen" }, title), radios);
    super(title, action, [], mute, times, choice({ type: "checkbox", name: "except_mentions" }, exceptMentions));
  }
}
