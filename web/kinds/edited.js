// The text of a message after its edits, from its state.

import { newestOf } from "../changes.js";
import { timeOfId } from "../ids.js";
import { AT_EVERYONE } from "../mentions.js";

/** @import {State} from "../changes.js" */
/** @import {Mention} from "../wire.js" */

/** The newest text; empty if only a newer version knows the content. @param {{body: string, changes: State}} message */
export function textOf({ body, changes }) {
  const edit = newestOf(changes, "edited");
  return edit ? (edit.change.edited?.text?.body ?? "") : body;
}

/**
 * The users whom the newest text mentions, and the words that mention all members: those name no user.
 * @param {{mentions?: readonly Mention[], mentions_everyone?: boolean, changes: State}} message
 * @returns {readonly Mention[]}
 */
export function mentionsOf(message) {
  const edit = newestOf(message.changes, "edited");
  const { mentions = [], mentions_everyone = false } = edit ? (edit.change.edited?.text ?? {}) : message;
  return mentions_everyone ? [...mentions, ...AT_EVERYONE] : mentions;
}

/**
 * Whether the newest text mentions a user, alone or with all members.
 * @param {Parameters<typeof mentionsOf>[0]} message
 * @param {string} user_id
 */
export const isMentioned = (message, user_id) =>
  mentionsOf(message).some((mention) => !mention.user_id || mention.user_id === user_id);

/** When the message was edited last, in milliseconds since 1970; 0 if never. @param {{changes: State}} message */
export function editedAt({ changes }) {
  const edit = newestOf(changes, "edited");
  return edit ? timeOfId(edit.event_id) : 0;
}
