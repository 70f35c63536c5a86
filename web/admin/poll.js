// Repeats an asynchronous task while the page is visible: at once when it becomes visible, never twice at a time.

/** Milliseconds from the end of one run to the next. */
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
   * @param {() => Promise<void>} work which handles its own errors
   * @param {EventTarget & {visibilityState: string}} page
   */
  constructor(work, page) {
    this.#work = work;
    this.#page = page;
    page.addEventListener("visibilitychange", () => void this.now(), { signal: this.#life.signal });
  }

  /** Runs the work at once, or once more if it is running; starts only while the page is visible. */
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
