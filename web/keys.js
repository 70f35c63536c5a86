// Which keys the page acts on.

/** The keyCode of a key that an input method handles. */
const IN_COMPOSITION = 229;

/**
 * Whether a key belongs to an input method, which composes a word: its Enter, Escape and arrow keys are not the page's.
 * Safari reports the last key after the composition, and only its keyCode shows that the key belongs to the composition.
 * @param {Pick<KeyboardEvent, "isComposing" | "keyCode">} event
 */
export const isForInputMethod = ({ isComposing, keyCode }) => isComposing || keyCode === IN_COMPOSITION;
