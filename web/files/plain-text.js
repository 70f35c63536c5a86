// Texts in files: which files are texts, and the place that a message reserves for their first lines. Pure functions.

/** @import {MessageFile} from "../types.js" */

/** The type that the server finds for every text in UTF-8, such as a program or a table. */
const TEXT = "text/plain";
const UNKNOWN = "application/octet-stream";
/** Lines of a text that a message shows, at most. */
const MOST_LINES = 8;
/** A short text has a line of the place for so many of its bytes: how many lines it has is not known before it is read. */
const LINE_BYTES = 12;
/** Characters of a line on the narrowest screen, with the largest letters. */
const NARROW_LINE = 20;
/** Characters that no text has: the same as in bff/files/sniffing.py. */
const BINARY = /[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]/;
/** Bytes at the beginning of a file that decide whether it is a text, as for the server. */
export const HEAD_BYTES = 4_096;

/** The lines of the place for the beginning of a file; 0 if none of it is shown. @param {MessageFile} file */
export const linesOf = ({ media_type, size }) =>
  media_type === TEXT ? Math.min(Math.ceil(Number(size || 0) / LINE_BYTES), MOST_LINES) : 0;

/**
 * The text that some bytes are; null if they are none.
 * @param {Uint8Array} bytes
 * @param {boolean} isCut whether the file goes on, maybe within a character
 */
export function textIn(bytes, isCut) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: isCut });
    return BINARY.test(text) ? null : text;
  } catch {
    return null;
  }
}

/**
 * The first lines of a text, and whether they are all of it and surely have room in a place of as many lines.
 * @param {string} text
 * @param {number} count
 */
export function firstLines(text, count) {
  const lines = text.replace(/\r\n?/g, "\n").trimEnd().split("\n");
  const rows = lines.reduce((sum, line) => sum + Math.max(Math.ceil(line.length / NARROW_LINE), 1), 0);
  return { text: lines.slice(0, count).join("\n"), isAll: rows <= count };
}

/**
 * The type that the server will find in a picked file, as far as it decides whether the file is shown as a text.
 * @param {Blob} bytes
 * @param {string} media_type as the browser states it
 */
export async function typeOfPicked(bytes, media_type) {
  if (/^(?:audio|video)\//.test(media_type)) return media_type;
  const head = new Uint8Array(await bytes.slice(0, HEAD_BYTES).arrayBuffer());
  if (textIn(head, bytes.size > HEAD_BYTES) !== null) return TEXT;
  return media_type === TEXT ? UNKNOWN : media_type;
}
