// The database of the page, in IndexedDB: one store, whose keys are [user_id, kind, id].

/** @import {Database, Kind} from "./kept.js" */
/** @import {Copies} from "./recent.js" */

const NAME = "rookery";
export const STORE = "kept";
/** The kind of a copied chat. `Kept` has the other kinds. */
const COPY = "chat";
/** @type {Kind[]} */
const KINDS = ["draft", "outbox", "change"];

/** One user's drafts, and unsent messages and changes. @param {string} user_id @returns {Promise<Database>} */
export async function openDatabase(user_id) {
  const database = await opened();
  /** @param {(store: IDBObjectStore) => void} change */
  const write = (change) => commit(database, "strict", change);
  return {
    read: async () => (await Promise.all(KINDS.map((kind) => read(database, user_id, kind)))).flat(),
    put: (kind, id, value) => write((store) => store.put(value, [user_id, kind, id])),
    remove: (kind, id) => write((store) => store.delete([user_id, kind, id])),
    clear: () => write((store) => store.delete(allOf(user_id))),
  };
}

/** One user's copies of chats. @param {string} user_id @returns {Promise<Copies>} */
export async function openCopies(user_id) {
  const database = await opened();
  return {
    read: async () => (await read(database, user_id, COPY)).map(([, id, value]) => [id, value]),
    write: (changed) =>
      commit(database, "relaxed", (store) => {
        for (const [id, value] of changed) {
          if (value === null) store.delete([user_id, COPY, id]);
          else store.put(value, [user_id, COPY, id]);
        }
      }),
    clear: () => commit(database, "strict", (store) => store.delete(allOf(user_id, COPY))),
  };
}

/** The keys that begin with these parts. @param {...string} parts */
export const allOf = (...parts) => IDBKeyRange.bound(parts, [...parts, []]); // an array is above every string

/**
 * @template {string} Of
 * @param {IDBDatabase} database
 * @param {string} user_id
 * @param {Of} kind
 * @returns {Promise<[kind: Of, id: string, value: unknown][]>}
 */
async function read(database, user_id, kind) {
  const store = database.transaction(STORE).objectStore(STORE);
  const range = allOf(user_id, kind);
  const [keys, values] = await Promise.all([answer(store.getAllKeys(range)), answer(store.getAll(range))]);
  return keys.map((key, at) => [kind, /** @type {[string, Of, string]} */ (key)[2], values[at]]);
}

/**
 * A transaction. `commit` sends all changes at once, so that they are written even if the page closes.
 * @param {IDBDatabase} database
 * @param {"strict" | "relaxed"} durability relaxed: the changes may be lost when the machine stops
 * @param {(store: IDBObjectStore) => void} change
 * @returns {Promise<void>}
 */
export function commit(database, durability, change) {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(STORE, "readwrite", { durability });
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
    change(transaction.objectStore(STORE));
    transaction.commit();
  });
}

/** The database, for the modules of this page. */
export async function opened() {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  const database = await answer(request);
  database.onversionchange = () => database.close();
  return database;
}

/** @template Result @param {IDBRequest<Result>} request @returns {Promise<Result>} */
export function answer(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
