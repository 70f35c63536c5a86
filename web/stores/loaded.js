// A value of the server that a dialog shows, and the state of its loading.

import { explain } from "../api.js";
import { Store } from "./store.js";

/** The archive lags behind sessions: the pauses after which a value is read again, in milliseconds. */
const PAUSES_MS = [250, 500, 1_000, 2_000, 4_000, 8_000];

/** @template Value */
export class Loaded extends Store {
  /** The value that was read last; null until then. @type {Value | null} */
  value = null;
  /** Why the last reading failed; empty if it did not. */
  problem = "";
  #read;
  #isCurrent;
  /** Rises with each load, so that a late response to an older one is ignored. */
  #turn = 0;

  /** @param {() => Promise<Value>} read @param {(value: Value) => boolean} [isCurrent] false: it is read again */
  constructor(read, isCurrent = () => true) {
    super();
    this.#read = read;
    this.#isCurrent = isCurrent;
  }

  /** Reads the value, which stays until the new one is there. */
  async load() {
    const turn = ++this.#turn;
    this.#set(this.value, "");
    try {
      for (const pause_ms of [...PAUSES_MS, 0]) {
        const value = await this.#read();
        if (turn !== this.#turn) return;
        this.#set(value, "");
        if (!pause_ms || this.#isCurrent(value)) return;
        await new Promise((resolve) => setTimeout(resolve, pause_ms));
        if (turn !== this.#turn) return;
      }
    } catch (fault) {
      if (turn === this.#turn) this.#set(this.value, explain(fault));
    }
  }

  /** Shows a value that the page knows already. @param {Value} value */
  put(value) {
    this.stop();
    this.#set(value, "");
  }

  /** Ends all loads. */
  stop() {
    this.#turn++;
  }

  /** @param {Value | null} value @param {string} problem */
  #set(value, problem) {
    [this.value, this.problem] = [value, problem];
    this.changed();
  }
}
