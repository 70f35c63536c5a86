// The person's choices in this browser: the skin tone, and the emoji used last.

import { parsed, SafeStorage } from "../stores/storage.js";
import { MODIFIERS, withTone } from "./tones.js";

/** @import {Emoji} from "./catalogue.js" */

const KEY = "rookery.emoji";
/** The number of emoji that are kept: three rows of the picker. */
export const MAX_RECENT = 21;

export class Choices {
  #storage;

  /** @param {SafeStorage} storage */
  constructor(storage) {
    this.#storage = storage;
  }

  /** The skin tone, from 0 for none to 5; see `tones.js`. */
  get tone() {
    const { tone } = this.#read();
    return typeof tone === "number" && tone in MODIFIERS ? tone : 0;
  }

  set tone(tone) {
    this.#write({ tone, recent: this.recent });
  }

  /** The emoji used last, without skin tones, the newest first. @returns {string[]} */
  get recent() {
    const { recent } = this.#read();
    if (!Array.isArray(recent)) return [];
    return recent.filter((emoji) => typeof emoji === "string").slice(0, MAX_RECENT);
  }

  /** Called when the person uses an emoji. @param {string} emoji without a skin tone */
  used(emoji) {
    this.#write({ tone: this.tone, recent: [emoji, ...this.recent.filter((other) => other !== emoji)] });
  }

  /** Removes the choices, at sign-out. */
  clear() {
    this.#storage.removeItem(KEY);
  }

  /** Not cached: another tab may have changed the choices. @returns {{tone?: unknown, recent?: unknown}} */
  #read() {
    return Object(parsed(this.#storage.getItem(KEY)));
  }

  /** @param {{tone: number, recent: string[]}} choices */
  #write({ tone, recent }) {
    this.#storage.setItem(KEY, JSON.stringify({ tone, recent: recent.slice(0, MAX_RECENT) }));
  }
}

/** The choices of the person at this page. */
export const choices = new Choices(new SafeStorage(() => localStorage));

/** The emoji in the person's skin tone. @param {Pick<Emoji, "emoji" | "hasTones">} emoji */
export const toned = ({ emoji, hasTones }) => (hasTones ? withTone(emoji, choices.tone) : emoji);
