// The database of the page, in IndexedDB: one store, whose keys are [user_id, kind, id].

/** @import {Database, Kind} from "./kept.js" */

const NAME = "rookery";
const STORE = "kept";

/** One user's part of the database. @param {string} user_id @returns {Promise<Database>} */
export async function openDatabase(user_id) {
  const database = await opened();
  const mine = IDBKeyRange.bound([user_id], [user_id, []]); // an array is above every string
  /**
   * A transaction with one change. `commit` sends both at once, so that they are carried out even if the page closes.
   * @param {(store: IDBObjectStore) => void} change
   * @returns {Promise<void>}
   */
  const write = (change) =>
    new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, "readwrite", { durability: "strict" });
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
      change(transaction.objectStore(STORE));
      transaction.commit();
    });
  return {
    read: async () => {
      const store = database.transaction(STORE).objectStore(STORE);
      const [keys, values] = await Promise.all([answer(store.getAllKeys(mine)), answer(store.getAll(mine))]);
      return keys.map((key, at) => {
        const [, kind, id] = /** @type {[string, Kind, string]} */ (key);
        return [kind, id, values[at]];
      });
    },
    put: (kind, id, value) => write((store) => store.put(value, [user_id, kind, id])),
    remove: (kind, id) => write((store) => store.delete([user_id, kind, id])),
    clear: () => write((store) => store.delete(mine)),
  };
}

async function opened() {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  const database = await answer(request);
  database.onversionchange = () => database.close();
  return database;
}

/** @template Result @param {IDBRequest<Result>} request @returns {Promise<Result>} */
function answer(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
