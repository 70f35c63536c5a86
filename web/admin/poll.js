// Does something again and again while the page can be seen: at once when it can be seen again, never twice at a time.

/** Milliseconds from the end of one time to the next. */
export const PERIOD_MS = 5_000;

export class Poll {
  #work;
  #page;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #busy = false;
  #again = false;
  #life = new AbortController();

  /**
   * @param {() => Promise<void>} work which takes care of its own faults
   * @param {EventTarget & {visibilityState: string}} page
   */
  constructor(work, page) {
    this.#work = work;
    this.#page = page;
    page.addEventListener("visibilitychange", () => void this.now(), { signal: this.#life.signal });
  }

  /** Does it at once, or once more if it is being done; only starts when the page can be seen. */
  async now() {
    clearTimeout(this.#timer);
    if (this.#busy) this.#again = true;
    if (this.#busy || this.#life.signal.aborted || this.#page.visibilityState !== "visible") return;
    this.#busy = true;
    try {
      do {
        this.#again = false;
        await this.#work();
      } while (this.#again && !this.#life.signal.aborted);
    } finally {
      this.#busy = false;
    }
    if (!this.#life.signal.aborted) this.#timer = setTimeout(() => void this.now(), PERIOD_MS);
  }

  stop() {
    this.#life.abort();
    clearTimeout(this.#timer);
  }
}
