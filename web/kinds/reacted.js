// The reactions to a message, from its state.

import { inOrder } from "../changes.js";

/** @import {State} from "../changes.js" */

/** An emoji, and the users who set it. @typedef {{emoji: string, user_ids: string[]}} Tally */

/**
 * The tallies of states: each rendering needs the tallies of all messages on the page.
 * @type {WeakMap<State, Tally[]>}
 */
const derived = new WeakMap();

/** In the order in which they were set. @param {{changes: State}} message @returns {readonly Tally[]} */
export function reactionsOf({ changes }) {
  const known = derived.get(changes) ?? talliesOf(changes);
  derived.set(changes, known);
  return known;
}

/** @param {State} changes */
function talliesOf(changes) {
  /** @type {Map<string, Tally>} */
  const tallies = new Map();
  for (const { change } of inOrder(changes)) {
    if (!change.reacted?.set) continue;
    const { emoji } = change.reacted;
    const user_ids = tallies.get(emoji)?.user_ids ?? [];
    tallies.set(emoji, { emoji, user_ids: [...user_ids, change.actor_id ?? ""] });
  }
  return [...tallies.values()];
}

/**
 * Whether the user has reacted with the emoji.
 * @param {{changes: State}} message
 * @param {string} user_id
 * @param {string} emoji
 */
export const hasReacted = (message, user_id, emoji) =>
  reactionsOf(message).some((tally) => tally.emoji === emoji && tally.user_ids.includes(user_id));
