// Leaves out the emoji that this browser can't draw: emoji of newer versions than its fonts, and flags on systems
// without flags. Draws one emoji of each version, once.

/** @import {Emoji} from "./catalogue.js" */

const SIZE = 32;
const KNOWN = "😀";
const FLAG = /^\p{Regional_Indicator}/u;

/**
 * @param {readonly Emoji[][]} groups
 * @param {(emoji: string) => boolean} [isDrawn]
 */
export function drawn(groups, isDrawn = drawing()) {
  if (!isDrawn(KNOWN)) return groups; // the browser hides drawn pixels from pages
  const all = groups.flat();
  const versions = [...new Set(all.map(({ version }) => version))];
  const missing = new Set(
    versions.filter((version) => version && !isDrawn(all.find((one) => one.version === version)?.emoji ?? KNOWN)),
  );
  const hasFlags = isDrawn("🇺🇳");
  const isShown = (/** @type {Emoji} */ { emoji, version }) =>
    !missing.has(version) && (hasFlags || !FLAG.test(emoji));
  return groups.map((group) => group.filter(isShown));
}

/** Tests whether an emoji is drawn as one picture, in its own colours. */
function drawing() {
  const context = Object.assign(document.createElement("canvas"), { width: SIZE, height: SIZE }).getContext("2d", {
    willReadFrequently: true,
  });
  if (!context) return () => false;
  context.font = `${SIZE / 2}px ${getComputedStyle(document.body).fontFamily}`;
  context.textBaseline = "top";
  /** @param {string} emoji @param {string} colour */
  const pixels = (emoji, colour) => {
    context.clearRect(0, 0, SIZE, SIZE);
    context.fillStyle = colour;
    context.fillText(emoji, 0, 0);
    return context.getImageData(0, 0, SIZE, SIZE).data.join();
  };
  const most = context.measureText(KNOWN).width * 1.5;
  return (/** @type {string} */ emoji) =>
    context.measureText(emoji).width < most && pixels(emoji, "black") === pixels(emoji, "red");
}
