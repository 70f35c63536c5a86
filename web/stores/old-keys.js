// Opens what is kept for a user, with the drafts and unsent messages that earlier versions of the page kept in
// localStorage.

import { openDatabase } from "./database.js";
import { Kept } from "./kept.js";
import { parsed, SafeStorage } from "./storage.js";

/** @param {SafeStorage} storage @param {string} user_id */
export async function openKept(storage, user_id) {
  const kept = await Kept.open(() => openDatabase(user_id));
  await move(storage, `rookery.outbox.${user_id}.`, (id, text) => kept.put("outbox", id, parsed(text)));
  await move(storage, `rookery.draft.${user_id}.`, (id, text) => kept.put("draft", id, text));
  return kept;
}

/**
 * Moves the values under a prefix, and removes each of them when it is kept elsewhere.
 * @param {SafeStorage} storage
 * @param {string} prefix
 * @param {(id: string, text: string) => Promise<boolean>} put returns whether the value is durable
 */
async function move(storage, prefix, put) {
  for (const key of storage.keys(prefix)) {
    const text = storage.getItem(key);
    if (text !== null && (await put(key.slice(prefix.length), text))) storage.removeItem(key);
  }
}
