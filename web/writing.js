// How the composer interprets a person's text and keys. Pure functions.

/** The keyCode of a key that an input method handles. */
const IN_COMPOSITION = 229;

/** The markers around a selection, by the key that is pressed with Ctrl or Cmd. */
const MARKERS = /** @type {Record<string, string>} */ ({ b: "**", i: "*", "shift x": "~~" });

/** The message in a text: without empty lines above and white space below. @param {string} text */
export const bodyOf = (text) => text.replace(/^(?:\s*\n)?/, "").trimEnd();

/**
 * Whether a key sends the message. Enter also ends the composition of a word by an input method: Safari reports that
 * key after the composition, and only its keyCode shows that the key belongs to the composition.
 * @param {Pick<KeyboardEvent, "key" | "shiftKey" | "isComposing" | "keyCode">} event
 */
export const sends = ({ key, shiftKey, isComposing, keyCode }) =>
  key === "Enter" && !shiftKey && !isComposing && keyCode !== IN_COMPOSITION;

/**
 * The marker that a key puts around the selection; empty for other keys.
 * @param {Pick<KeyboardEvent, "key" | "shiftKey" | "ctrlKey" | "metaKey" | "altKey" | "isComposing">} event
 */
export function markerOf({ key, shiftKey, ctrlKey, metaKey, altKey, isComposing }) {
  if (ctrlKey === metaKey || altKey || isComposing) return "";
  return MARKERS[`${shiftKey ? "shift " : ""}${key.toLowerCase()}`] ?? "";
}
