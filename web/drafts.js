// Unsent texts by chat, kept in storage across reloads.

export class Drafts {
  #storage;
  #prefix;

  /** @param {Storage} storage @param {string} user_id */
  constructor(storage, user_id) {
    this.#storage = storage;
    this.#prefix = `rookery.draft.${user_id}.`;
  }

  /** @param {string} chat_id */
  get(chat_id) {
    return this.#storage.getItem(this.#prefix + chat_id) ?? "";
  }

  /** @param {string} chat_id @param {string} text an empty text deletes the draft */
  keep(chat_id, text) {
    if (text) this.#storage.setItem(this.#prefix + chat_id, text);
    else this.#storage.removeItem(this.#prefix + chat_id);
  }

  clear() {
    for (const key of Object.keys(this.#storage)) if (key.startsWith(this.#prefix)) this.#storage.removeItem(key);
  }
}
