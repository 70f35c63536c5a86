// Files that a person has picked, pasted or dropped. Pure functions, and the size of a picture as the browser shows it.

import { withoutDirectionControls } from "../format.js";
import { newId } from "../queue.js";

/** @import {MessageFile} from "../types.js" */

/** The server's limit of a name, in bytes. */
const MAX_NAME = 255;
/** Letters of a suffix that is kept when a name is cut. */
const MAX_SUFFIX = 16;
/** A picture that takes longer to decode is sent without its size, in milliseconds. */
const MEASURE_MS = 2_000;
/** Pictures that the page shows before they are sent. An SVG picture is a file to the server. */
const PICTURE = /^image\/(?:avif|gif|heic|heif|jpeg|png|webp)$/;

const encoder = new TextEncoder();

/** Whether the page shows a file of this type as a picture, if the browser can. @param {string} media_type */
export const isPicture = (media_type) => PICTURE.test(media_type);

/** A new file of a message. @param {File} file @returns {MessageFile} */
export const picked = ({ name, type, size }) => ({
  file_id: "",
  client_file_id: newId(),
  name: nameOf(name),
  media_type: type || "application/octet-stream",
  size: String(size),
});

/**
 * The name as the server takes it: without a path, and without characters that change the line or the direction of the
 * text around it; cut before its suffix.
 * @param {string} name
 */
export function nameOf(name) {
  const visible = withoutDirectionControls(name.replace(/^.*[/\\]/su, "").replace(/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/gu, ""));
  const clean = /^[\s.]*$/u.test(visible) ? "file" : visible.trim();
  const [, start = "", suffix = ""] = clean.match(/^(.+?)(\.[^.]+)?$/u) ?? [];
  const end = suffix.length <= MAX_SUFFIX ? suffix : "";
  let kept = end ? start : clean;
  while (bytesOf(kept + end) > MAX_NAME) kept = [...kept].slice(0, -1).join("");
  return kept + end;
}

/** @param {string} text */
const bytesOf = (text) => encoder.encode(text).length;

/**
 * The width and the height of a picture, as it is shown; none if the browser can't decode it.
 * @param {string} url
 * @returns {Promise<{width?: number, height?: number}>}
 */
export async function sizeOfPicture(url) {
  const image = new Image();
  image.src = url;
  const late = new Promise((_, reject) => setTimeout(reject, MEASURE_MS));
  try {
    await Promise.race([image.decode(), late]);
    return { width: image.naturalWidth, height: image.naturalHeight };
  } catch {
    return {};
  }
}
