// Reports a person, or one of their messages, to the admins of the server.

import { displayName } from "../format.js";
import { isDeleted } from "../kinds/deleted.js";
import { isHidden } from "../kinds/hidden.js";
import { dialogTexts } from "../languages/dialogs.js";
import { shownPlain } from "../messages.js";
import { peopleOf } from "../stores/people.js";
import { h } from "../view.js";
import { check } from "./form.js";
import { FormModal } from "./modal.js";

/** @import {App} from "./app-shell.js" */
/** @import {Message, Profile} from "../types.js" */

/** Characters of a reason, at most. */
const LONGEST_REASON = 1_000;
/** The messages before a reported one that explain it to the admins, at most. */
const MOST_BEFORE = 4;

export class ReportDialog extends FormModal {
  /** @param {App} app @param {Profile} profile of the reported person @param {Message} [message] of theirs, as shown */
  constructor(app, profile, message) {
    const { title, ofMessage, ofPerson, reason, reasonHint, typeReason, block, send, sent } = dialogTexts.report;
    const { user_id } = profile;
    const people = peopleOf(app);
    const name = displayName(profile);
    const isBlocked = people.isBlocked(user_id);
    const field = {
      ...{ label: reason, name: "reason", hint: reasonHint, long: true },
      attributes: { maxlength: LONGEST_REASON, rows: 4, dir: "auto", required: true },
    };
    const text = message && shownPlain(message, app.chats.profiles);
    const save = async (/** @type {Record<string, string>} */ values) => {
      const words = values["reason"]?.trim() ?? "";
      check({ reason: words ? "" : typeReason });
      const messages = message && { chat_id: message.chat_id, message_ids: withThoseBefore(app, message) };
      if (values["block"] === "on") await people.block(user_id); // first: to repeat it has no effect
      await people.report({ user_id, ...messages, reason: words });
      app.notify(sent);
    };
    const also = h("label", { class: "choice", key: "block" }, h("input", { type: "checkbox", name: "block" }), block(name));
    super(title, send, [field], save, [
      h("p", {}, message ? ofMessage(name) : ofPerson(name)),
      text && h("blockquote", { class: "reported", dir: "auto" }, text),
      !isBlocked && !profile.deleted && also,
    ]);
  }
}

/** The ids of a message and of the shown ones before it, the oldest first. @param {App} app @param {Message} message */
function withThoseBefore({ chats, sending }, { chat_id, message_id }) {
  const known = chats.conversations.known(chat_id);
  const before = known.slice(0, Math.max(known.findIndex((each) => each.message_id === message_id), 0));
  const shown = before.map((each) => sending.shown(each)).filter((each) => !each.control && !isDeleted(each) && !isHidden(each));
  return [...shown.slice(-MOST_BEFORE).map((each) => each.message_id), message_id];
}
