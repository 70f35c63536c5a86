// Whether a user has marked a chat as unread, from the chat's state. The mark is separate from the read mark.

/** @import {State} from "../changes.js" */

/** @param {{changes: State}} chat @param {string} user_id */
export const isMarkedUnread = ({ changes }, user_id) =>
  [...changes.values()].some(({ change }) => change.actor_id === user_id && change.marked_unread?.set);
