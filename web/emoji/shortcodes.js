// Shortcodes in a text that is being written, such as `:tada:`.

const CODE = "[\\p{L}\\p{M}\\p{N}_+-]";
/** Not after a letter, a digit, `:` or `/`: a time of day, an address or `::` begins no shortcode. */
const BEGINNING = "(?<![\\p{L}\\p{N}_:/]):";
const OPEN = new RegExp(`${BEGINNING}((?=[\\p{L}+-])${CODE}{2,40})$`, "u");
const CLOSED = new RegExp(`${BEGINNING}(${CODE}{1,40}):$`, "u");

/**
 * The shortcode at the end of a text: a complete one, or the first characters of one, at least two; null if there is
 * none.
 * @param {string} text before the caret
 * @returns {{start: number, code: string, isClosed: boolean} | null}
 */
export function shortcodeAtEnd(text) {
  const closed = CLOSED.exec(text);
  const match = closed ?? OPEN.exec(text);
  return match && { start: match.index, code: match[1] ?? "", isClosed: closed !== null };
}
