// Lists that are read page by page: logs, and the list of accounts.

/** Pages of a listing at once: each refresh reads them again. */
export const MAX_PAGES = 10;

/**
 * A log that is read from its newest entry back, while new entries are added at its top.
 * @template {{id: string}} Entry
 */
export class Pages {
  /** @type {Entry[]} newest first */
  entries = [];
  /** @type {string | null} where the entries before the oldest one begin; null if there are none */
  next = null;
  #fetch;

  /** @param {(before?: string) => Promise<{entries: Entry[], next: string | null}>} fetch */
  constructor(fetch) {
    this.#fetch = fetch;
  }

  /** Adds new entries on top. If there are more than a page of them, drops the older ones, to leave no hole. */
  async refresh() {
    const { entries, next } = await this.#fetch();
    const oldest = entries.at(-1)?.id;
    const at = this.entries.findIndex(({ id }) => id === oldest);
    if (at < 0) [this.entries, this.next] = [entries, next];
    else this.entries = [...entries, ...this.entries.slice(at + 1)];
  }

  /** Reads the next older page. */
  async older() {
    const from = this.next;
    if (from === null) return;
    const { entries, next } = await this.#fetch(from);
    if (from !== this.next) return;
    this.entries = [...this.entries, ...entries];
    this.next = next;
  }
}

/**
 * A list whose entries change: a refresh reads all its shown pages again. `MAX_PAGES` are shown at most.
 * @template Entry
 */
export class Listing {
  /** @type {Entry[]} */
  entries = [];
  /** @type {string | null} where the next page begins; null if there is none, or enough are shown */
  next = null;
  #shown = 1;
  /** Rises with each reading: an older one that ends later is ignored. */
  #turn = 0;
  #fetch;

  /** @param {(cursor: string) => Promise<{entries: Entry[], next: string | null}>} fetch */
  constructor(fetch) {
    this.#fetch = fetch;
  }

  refresh() {
    return this.#read(this.#shown);
  }

  /** Shows one page more. */
  async older() {
    this.#shown++; // a refresh meanwhile reads it, too
    try {
      await this.#read(this.#shown);
    } catch (fault) {
      this.#shown--;
      throw fault;
    }
  }

  /** @param {number} pages */
  async #read(pages) {
    const turn = ++this.#turn;
    /** @type {Entry[]} */
    const all = [];
    /** @type {string | null} */
    let cursor = "0";
    for (let read = 0; read < pages && cursor; read++) {
      const { entries, next } = await this.#fetch(cursor);
      all.push(...entries);
      cursor = next;
    }
    if (turn !== this.#turn) return;
    this.entries = all;
    this.next = pages < MAX_PAGES ? cursor : null;
  }
}
