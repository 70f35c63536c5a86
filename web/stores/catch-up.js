// Reads the events that a session missed, until none is missing. That takes some readings: history lags behind the
// sessions. All clients catch up in this way: see docs/client-guide.md.

import { compareIds, laterId, timeOfId } from "../ids.js";

/** From a reading to the next, in milliseconds; twice as long each time while history makes no progress. */
const PAUSE_MS = 5_000;
const LONGEST_PAUSE_MS = 30_000;

export class CatchUp {
  #read;
  /** The server's time up to which events may be missing, in milliseconds since 1970; 0 if none are. */
  #missing_ms = 0;
  /** The highest event id that `read` has returned. */
  #complete_up_to = "0";
  #isReading = false;
  /** Whether more was missed during this reading. */
  #isStale = false;
  #pause_ms = PAUSE_MS;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {() => Promise<string>} read reads missing events, and returns an event id: no event up to it is missing
   * then; 0 if that is not known. Rejects if the server does not respond
   */
  constructor(read) {
    this.#read = read;
  }

  /** Events may be missing. @param {number} at_ms up to this time of the server, in milliseconds since 1970 */
  missed(at_ms) {
    this.#missing_ms = Math.max(this.#missing_ms, at_ms);
    this.#isStale = this.#isReading;
    this.now();
  }

  /** History may lack events that have arrived, of which something is to be read from it. @param {number} at_ms their time */
  needed(at_ms) {
    this.#missing_ms = Math.max(this.#missing_ms, at_ms);
    if (!this.#isReading) this.#timer ??= setTimeout(() => this.#readOnce(), PAUSE_MS);
  }

  /** Reads at once if something is missing, as the server may respond again. */
  now() {
    this.#pause_ms = PAUSE_MS;
    if (this.#missing_ms && !this.#isReading) void this.#readOnce();
  }

  stop() {
    this.#missing_ms = 0;
    this.#clear();
  }

  #clear() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #readOnce() {
    this.#clear();
    this.#isReading = true;
    this.#isStale = false;
    const complete_up_to = await this.#read().catch(() => "0");
    this.#isReading = false;
    if (timeOfId(complete_up_to) >= this.#missing_ms) this.#missing_ms = 0;
    if (compareIds(complete_up_to, this.#complete_up_to) > 0) this.#pause_ms = PAUSE_MS;
    this.#complete_up_to = laterId(this.#complete_up_to, complete_up_to);
    if (!this.#missing_ms) return;
    this.#timer = setTimeout(() => this.#readOnce(), this.#isStale ? 0 : this.#pause_ms);
    this.#pause_ms = Math.min(2 * this.#pause_ms, LONGEST_PAUSE_MS);
  }
}
