// The person's choices for this browser: kept in its storage, for every account, and the same in all its tabs.

import { LANGUAGES } from "../languages/language.js";
import { parsed } from "./storage.js";
import { Store } from "./store.js";

const KEY = "rookery.settings";

/** The values of each setting; the first is the default. */
export const CHOICES = Object.freeze({
  theme: ["system", "light", "dark"],
  text_size: ["normal", "small", "large", "largest"],
  time_format: ["system", "12", "24"],
  language: ["system", ...Object.keys(LANGUAGES)],
  /** Notifications outside the page: "unset" until the person has chosen. */
  desktop: ["unset", "on", "off"],
  sound: ["on", "off"],
  /** Whether a notification shows the sender and the text. */
  content: ["shown", "hidden"],
  /** Whether others see that this person is writing. */
  typing: ["shown", "hidden"],
});

/** @typedef {keyof typeof CHOICES} Setting */

export class Settings extends Store {
  #storage;
  /** @type {Record<string, unknown>} */
  #values = {};

  /** @param {Pick<Storage, "getItem" | "setItem">} storage */
  constructor(storage) {
    super();
    this.#storage = storage;
    this.#read();
  }

  /** The chosen value; the default if it is missing or unknown to this version. @param {Setting} name */
  get(name) {
    const value = String(this.#values[name]);
    return CHOICES[name].includes(value) ? value : /** @type {string} */ (CHOICES[name][0]);
  }

  /** @param {Setting} name @param {string} value */
  set(name, value) {
    this.#read(); // another tab may have just written
    this.#values = { ...this.#values, [name]: value };
    this.#storage.setItem(KEY, JSON.stringify(this.#values));
    this.changed();
  }

  /** Follows changes in other tabs, for as long as the page is open. @param {EventTarget} [page] */
  follow(page = window) {
    page.addEventListener("storage", (event) => {
      const { key } = /** @type {StorageEvent} */ (event);
      if (key !== KEY && key !== null) return;
      this.#read();
      this.changed();
    });
  }

  #read() {
    const values = parsed(this.#storage.getItem(KEY));
    this.#values = values && typeof values === "object" ? values : {};
  }
}
