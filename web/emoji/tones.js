// Skin tones: 0 is the yellow of an emoji without a tone, 1 to 5 are light to dark.

/** The modifiers by tone. */
export const MODIFIERS = ["", "🏻", "🏼", "🏽", "🏾", "🏿"];

/**
 * The emoji with one skin tone for all its people and hands. The caller checks that the emoji supports skin tones.
 * @param {string} emoji without a tone
 * @param {number} tone
 */
export function withTone(emoji, tone) {
  if (!tone) return emoji;
  const modifier = MODIFIERS[tone] ?? "";
  const tonedPart = (/** @type {string} */ part, /** @type {number} */ at) =>
    at > 0 && part === "🤝" ? part : part.replace(/^(\p{Emoji_Modifier_Base})\ufe0f?/u, `$1${modifier}`);
  return emoji.split("\u200d").map(tonedPart).join("\u200d");
}

/** The emoji without skin tones and variation selectors: the same for all its forms. @param {string} emoji */
export const bare = (emoji) => emoji.replace(/[🏻-🏿\ufe0f]/gu, "");
