// The text of a message after its edits, from its state.

import { newestOf } from "../changes.js";
import { timeOfId } from "../ids.js";

/** @import {State} from "../changes.js" */
/** @import {Mention} from "../wire.js" */

/** The newest text; empty if only a newer version knows the content. @param {{body: string, changes: State}} message */
export function textOf({ body, changes }) {
  const edit = newestOf(changes, "edited");
  return edit ? (edit.change.edited?.text?.body ?? "") : body;
}

/**
 * The users whom the newest text mentions.
 * @param {{mentions?: readonly Mention[], changes: State}} message
 * @returns {readonly Mention[]}
 */
export function mentionsOf({ mentions = [], changes }) {
  const edit = newestOf(changes, "edited");
  return edit ? (edit.change.edited?.text?.mentions ?? []) : mentions;
}

/** When the message was edited last, in milliseconds since 1970; 0 if never. @param {{changes: State}} message */
export function editedAt({ changes }) {
  const edit = newestOf(changes, "edited");
  return edit ? timeOfId(edit.event_id) : 0;
}
