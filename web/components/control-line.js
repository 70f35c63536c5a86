// A line of a group about a control change, such as "Ada added Grace".

import { controlTexts } from "../controls.js";
import { exactTime } from "../format.js";
import { h, memo } from "../view.js";

/** @import {App} from "./app-shell.js" */
/** @import {Row} from "../days.js" */

/** @param {App} app @param {Extract<Row, {kind: "control"}>} row @param {boolean} isMarked whether a link opened it */
export function controlLine({ chats }, { key, message, control }, isMarked) {
  const sentences = controlTexts(message, control, chats.profiles);
  const props = {
    class: `message control${isMarked ? " marked" : ""}`,
    ...{ role: "listitem", tabindex: -1, "data-key": key },
  };
  const line = { dir: "auto", title: exactTime(message.at_ms) };
  return memo(key, [sentences.join("\n"), isMarked], () =>
    h("rookery-message", props, sentences.map((sentence) => h("p", line, sentence))),
  );
}
