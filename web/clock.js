// The server's time, by which mutes end and edits become too late: the clock of this device may be wrong.

export class Clock {
  /** How far the server's clock is ahead of this device's, in milliseconds. */
  #ahead_ms = 0;

  /** The server's time, in milliseconds since 1970; this device's before the first session. */
  now_ms() {
    return Date.now() + this.#ahead_ms;
  }

  /** @param {number} now_ms the server's time now, likewise */
  set(now_ms) {
    this.#ahead_ms = now_ms - Date.now();
  }
}
