// The browser's localStorage, or memory where the browser blocks it or has no room: then a value lasts until the page
// closes.

export class SafeStorage {
  #storage;
  /** The values that differ from the browser's, null for a removed one. @type {Map<string, string | null>} */
  #own = new Map();

  /** @param {() => Storage} open for example `() => localStorage`, which throws where storage is blocked */
  constructor(open) {
    /** @type {Storage | null} */
    this.#storage = attempt(open, null);
  }

  /** @param {string} key @returns {string | null} */
  getItem(key) {
    const own = this.#own.get(key);
    return own === undefined ? attempt(() => this.#storage?.getItem(key) ?? null, null) : own;
  }

  /** @param {string} key @param {string} value */
  setItem(key, value) {
    this.#write(key, value, () => this.#storage?.setItem(key, value));
  }

  /** @param {string} key */
  removeItem(key) {
    this.#write(key, null, () => this.#storage?.removeItem(key));
  }

  /** @param {string} key @param {string | null} value @param {() => void} write */
  #write(key, value, write) {
    const written = attempt(() => {
      write();
      return this.#storage !== null;
    }, false);
    if (written) this.#own.delete(key);
    else this.#own.set(key, value);
  }
}

/**
 * The result of the work; the substitute if it throws.
 * @template Result
 * @param {() => Result} work
 * @param {Result} substitute
 */
function attempt(work, substitute) {
  try {
    return work();
  } catch {
    return substitute;
  }
}

/** The text parsed as JSON; null if there is none, or it is not JSON. @param {string | null} text */
export function parsed(text) {
  return attempt(() => JSON.parse(text ?? "null"), null);
}
