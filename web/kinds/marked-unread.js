// Whether a user has marked a chat as unread, from the chat's state. The mark is separate from the read mark.

/** @import {State} from "../changes.js" */

/** @param {{changes: State}} chat @param {string} user_id */
export function isMarkedUnread({ changes }, user_id) {
  for (const { change } of changes.values())
    if (change.marked_unread?.set && change.actor_id === user_id) return true;
  return false;
}
