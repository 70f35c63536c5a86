// The sound of a new message: two short tones, made in the browser.

/** The frequency of each tone in Hz, and its start in seconds. */
const TONES = /** @type {const} */ ([
  [659.25, 0],
  [880, 0.11],
]);
const VOLUME = 0.08;
const ATTACK_SECONDS = 0.01;
const FADE_SECONDS = 0.35;

/** @type {AudioContext | undefined} */
let context;

/** Plays the sound; browsers allow it only after the person has clicked on the page or pressed a key. */
export function playSound() {
  if (!navigator.userActivation?.hasBeenActive) return;
  context ??= new AudioContext();
  void context.resume();
  for (const [frequency, after] of TONES) playTone(context, frequency, context.currentTime + after);
}

/** @param {AudioContext} context @param {number} frequency in Hz @param {number} at in seconds of the context */
function playTone(context, frequency, at) {
  const gain = new GainNode(context, { gain: 0 });
  gain.gain.setValueAtTime(0, at);
  gain.gain.linearRampToValueAtTime(VOLUME, at + ATTACK_SECONDS);
  gain.gain.exponentialRampToValueAtTime(VOLUME / 1_000, at + FADE_SECONDS);
  const tone = new OscillatorNode(context, { frequency });
  tone.connect(gain).connect(context.destination);
  tone.start(at);
  tone.stop(at + FADE_SECONDS);
}
