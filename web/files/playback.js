// The sound that plays: one at a time on the page.

import { Store } from "../stores/store.js";
import { mayHaveExpired } from "./links.js";

/** @import {Message} from "../types.js" */

/** The speeds that a press of the button goes through. */
const RATES = [1, 1.5, 2];

/**
 * A sound: its key on the page, its address, and how long it is as far as its sender stated, in seconds.
 * @typedef {object} Sound
 * @property {string} key
 * @property {Message} message that has it
 * @property {() => Promise<string>} address empty if the user may not hear it
 * @property {() => void} forget called when the address does not work: the next one is another one
 * @property {number} duration 0: not known
 */
/** @typedef {{isPlaying: boolean, at: number, duration: number}} Progress in seconds */

export class Playback extends Store {
  /** How fast sounds play. */
  rate = 1;
  /** Called when a sound can't be played. */
  onFailed = () => {};
  #audio;
  /** @type {Sound | null} */
  #sound = null;
  /** The loading of its address: each choice of a sound has its own. */
  #loading = Promise.resolve();
  /** When its address was renewed last, in milliseconds since 1970; 0: never. */
  #renewed_ms = 0;

  /** @param {HTMLAudioElement} audio */
  constructor(audio) {
    super();
    this.#audio = audio;
    for (const type of ["timeupdate", "play", "pause", "ended", "durationchange"])
      audio.addEventListener(type, () => this.changed());
    audio.addEventListener("error", () => void this.#failed());
  }

  /** The sound that was started last; null once it has ended by `stop`. */
  get sound() {
    return this.#sound;
  }

  /** How far a sound is; null for one that was not started. @param {string} key @returns {Progress | null} */
  of(key) {
    if (this.#sound?.key !== key) return null;
    const { currentTime, duration, paused, ended } = this.#audio;
    return { isPlaying: !paused && !ended, at: currentTime, duration: Number.isFinite(duration) ? duration : this.#sound.duration };
  }

  /** Plays a sound, or pauses it. @param {Sound} sound */
  async toggle(sound) {
    if (this.of(sound.key)?.isPlaying) return this.#audio.pause();
    if (await this.#open(sound)) await this.#play();
  }

  /** Moves to a place of a sound. @param {Sound} sound @param {number} at in seconds */
  async seek(sound, at) {
    const isNew = this.#sound?.key !== sound.key;
    if (!(await this.#open(sound))) return;
    this.#audio.currentTime = Math.max(at, 0);
    if (isNew) await this.#play();
    this.changed();
  }

  /** The next speed. */
  faster() {
    this.rate = RATES[(RATES.indexOf(this.rate) + 1) % RATES.length] ?? 1;
    this.#audio.playbackRate = this.rate;
    this.changed();
  }

  stop() {
    if (!this.#sound) return;
    this.#sound = null;
    this.#audio.pause();
    this.#audio.removeAttribute("src");
    this.changed();
  }

  /** Makes a sound the current one; whether it still is when its address is loaded. @param {Sound} sound */
  async #open(sound) {
    if (this.#sound?.key === sound.key) return this.#isLoaded();
    this.#audio.pause();
    this.#audio.removeAttribute("src"); // a failure of the sound before is not one of this sound
    this.#sound = sound;
    this.#renewed_ms = 0;
    this.#loading = this.#load(sound);
    return this.#isLoaded();
  }

  /** Waits for the address; whether no other sound was chosen meanwhile, and none was stopped. */
  async #isLoaded() {
    const loading = this.#loading;
    await loading;
    return this.#sound !== null && loading === this.#loading;
  }

  /** @param {Sound} sound */
  async #load(sound) {
    const url = await sound.address().catch(() => "");
    if (this.#sound !== sound) return;
    if (!url) return this.#giveUp();
    this.#audio.src = url;
    this.#audio.playbackRate = this.rate;
  }

  async #play() {
    await this.#audio.play().catch(() => {}); // an `error` follows, or another sound was started
  }

  /** The address may have expired. */
  async #failed() {
    const sound = this.#sound;
    if (!sound || !this.#audio.getAttribute("src")) return;
    if (!mayHaveExpired(this.#renewed_ms)) return this.#giveUp();
    this.#renewed_ms = Date.now();
    sound.forget();
    const { currentTime, paused } = this.#audio;
    this.#loading = this.#load(sound);
    if (!(await this.#isLoaded())) return;
    this.#audio.currentTime = currentTime;
    if (!paused) await this.#play();
  }

  #giveUp() {
    this.stop();
    this.onFailed();
  }
}
