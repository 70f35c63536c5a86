// A log that is read page by page from its newest entry back, while new entries are added at its top.

/**
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
