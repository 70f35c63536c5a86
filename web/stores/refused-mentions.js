// Messages and edits that the server has refused for a mention. Loaded at such a refusal.

/** @import {Queue} from "../queue.js" */
/** @import {Entry, Queued, WaitingChange} from "../types.js" */
/** @import {Refused, Text} from "../wire.js" */

/**
 * Sends an entry again without the mention that a refusal names: the mentioned user has left, or the sender may not
 * mention everyone. The client id stays, since the server keeps nothing of a refused entry.
 * @template {Queued} E
 * @param {Queue<E>} queue
 * @param {string} client_id
 * @param {Refused} refused
 * @returns {Promise<boolean>} false for another refusal
 */
export async function repair(queue, client_id, refused) {
  const entry = /** @type {E & Partial<Entry & WaitingChange> | undefined} */ (queue.get(client_id));
  if (entry?.state !== "pending") return false;
  const { change } = entry;
  const text = withoutMention(change?.edited?.text ?? entry, refused);
  if (text) queue.repair(change ? { ...entry, change: { ...change, edited: { text } } } : { ...entry, ...text });
  return text !== undefined;
}

/** @template {Pick<Text, "mentions" | "mentions_everyone">} T @param {T} text @param {Refused} refused @returns {T | undefined} */
function withoutMention(text, { field = "", retryable }) {
  const { mentions = [], mentions_everyone } = text;
  const [, all, at = "-1"] = (!retryable && /\.text\.mentions(_everyone|\[(\d+)\])/.exec(field)) || [];
  if (all === "_everyone") return mentions_everyone ? { ...text, mentions_everyone: false } : undefined;
  return mentions[Number(at)] && { ...text, mentions: mentions.filter((_, index) => index !== Number(at)) };
}
