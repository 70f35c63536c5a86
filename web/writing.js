// How the composer interprets a person's text and keys. Pure functions.

/** The keyCode of a key that an input method handles. */
const IN_COMPOSITION = 229;

/** The message in a text: without empty lines above and white space below. @param {string} text */
export const bodyOf = (text) => text.replace(/^(?:\s*\n)?/, "").trimEnd();

/**
 * Whether a key sends the message. Enter also ends the composition of a word by an input method: Safari reports that
 * key after the composition, and only its keyCode shows that the key belongs to the composition.
 * @param {Pick<KeyboardEvent, "key" | "shiftKey" | "isComposing" | "keyCode">} event
 */
export const sends = ({ key, shiftKey, isComposing, keyCode }) =>
  key === "Enter" && !shiftKey && !isComposing && keyCode !== IN_COMPOSITION;
