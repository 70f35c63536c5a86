// Deletes what the chats keep of a user in this browser when a sign-in ends on a page without the chats.

import { choices } from "../emoji/choices.js";
import { inTime } from "../deadline.js";
import { openCopies, openDatabase } from "./database.js";

/** The next page waits for the deletion at most this long. */
const DEADLINE_MS = 3_000;

/** The user has signed out: deletes their drafts, unsent messages with their files, and copies. @param {string} user_id */
export async function clearKept(user_id) {
  choices.clear();
  await clear(openDatabase(user_id));
}

/** The server has ended the sign-in: deletes the copies. Drafts and unsent messages stay. @param {string} user_id */
export const clearCopies = (user_id) => clear(openCopies(user_id));

/** @param {Promise<{clear: () => Promise<void>}>} opening */
async function clear(opening) {
  try {
    await inTime(DEADLINE_MS, opening.then((database) => database.clear()));
  } catch {
    // A browser whose storage fails keeps nothing, or can't delete it.
  }
}
