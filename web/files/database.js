// The bytes of files that are attached to drafts, or wait for their upload, in the page's database.

import { allOf, answer, commit, opened, STORE } from "../stores/database.js";

/** Bytes that no draft and no unsent message has are deleted after this time: another tab may just attach them, in milliseconds. */
const UNUSED_MS = 24 * 60 * 60_000;

const KIND = "file";

/**
 * One user's files. Every method throws if the browser's storage fails.
 * @typedef {object} FileDatabase
 * @property {(id: string, bytes: Blob, now_ms: number) => Promise<void>} put
 * @property {(id: string) => Promise<Blob | undefined>} get
 * @property {(id: string) => Promise<void>} remove
 * @property {(now_ms: number) => Promise<void>} prune deletes the bytes that no draft and no unsent message in the database has
 */

/** @param {string} user_id @returns {Promise<FileDatabase>} */
export async function openFiles(user_id) {
  const database = await opened();
  const read = () => database.transaction(STORE).objectStore(STORE);
  return {
    put: (id, bytes, at_ms) => commit(database, "strict", (store) => store.put({ bytes, at_ms }, [user_id, KIND, id])),
    get: async (id) => (await answer(read().get([user_id, KIND, id])))?.bytes,
    remove: (id) => commit(database, "strict", (store) => store.delete([user_id, KIND, id])),
    prune: async (now_ms) => {
      const [entries, drafts, ids, rows] = await Promise.all([
        answer(read().getAll(allOf(user_id, "outbox"))),
        answer(read().getAll(allOf(user_id, "draft"))),
        answer(read().getAllKeys(allOf(user_id, KIND))),
        answer(read().getAll(allOf(user_id, KIND))),
      ]);
      const used = new Set([...entries, ...drafts].flatMap(({ files = [] }) => files).map((file) => file.client_file_id));
      const stale = ids.filter((key, at) => {
        const [, , id] = /** @type {string[]} */ (key);
        return !used.has(id) && rows[at].at_ms < now_ms - UNUSED_MS;
      });
      await commit(database, "relaxed", (store) => stale.forEach((key) => store.delete(key)));
    },
  };
}
