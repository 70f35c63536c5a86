// What the page shows of a file: its kind, the size of its picture on the page, and its size in words. Pure functions.

import { locale } from "../languages/language.js";

/** @import {MessageFile} from "../types.js" */

/** @typedef {"picture" | "video" | "audio" | "file"} Kind */

/** The narrowest and the widest shape in which a message shows a picture: the rest of it is cut off. */
const NARROWEST = 1 / 2;
const WIDEST = 3;
/** A thumbnail may have this much less than the pixels of its place. */
const ENOUGH = 0.85;
/** The original is shown where a thumbnail has too few pixels, if its longer edge has at most these. */
const MOST_EDGE = 4_096;
/** Few browsers show an original of this type, which the server keeps if its sender asks for that. */
const UNSHOWN = "image/heic";
const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte"];

/** How the page shows a file: a picture only if the server could decode it. @param {MessageFile} file @returns {Kind} */
export function kindOf({ media_type, width }) {
  if (media_type.startsWith("image/")) return width ? "picture" : "file";
  if (media_type.startsWith("video/")) return "video";
  return media_type.startsWith("audio/") ? "audio" : "file";
}

/** Whether a file is in the list of a chat's pictures and videos. @param {MessageFile} file */
export const isMedia = (file) => ["picture", "video"].includes(kindOf(file));

/** Width by height of a picture in a message; 1 without a size, which the server may state as 0. @param {MessageFile} file */
export const shapeOf = ({ width, height }) => (width && height ? Math.min(Math.max(width / height, NARROWEST), WIDEST) : 1);

/**
 * The rendition to show in a place, such as "800"; empty for the file itself. Thumbnails do not move: a GIF is shown
 * itself. A HEIC picture is shown by its thumbnails only.
 * @param {MessageFile} file a picture
 * @param {number} pixels of the longer edge of the place, on the screen
 */
export function renditionFor({ media_type, width = 0, height = 0, thumbnails = [] }, pixels) {
  if (media_type === "image/gif") return "";
  const fitting = thumbnails.find((edge) => edge >= ENOUGH * pixels);
  const isShown = Math.max(width, height) <= MOST_EDGE && media_type !== UNSHOWN;
  return String(fitting ?? (isShown ? "" : (thumbnails.at(-1) ?? "")));
}

/** The size of a file, such as 1.2 MB. @param {number} bytes */
export function sizeText(bytes) {
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), UNITS.length - 1);
  const value = bytes / 1_000 ** power;
  const format = { style: "unit", unit: UNITS[power], unitDisplay: power ? "short" : "long" };
  const digits = { maximumFractionDigits: power && value < 100 ? 1 : 0 };
  return new Intl.NumberFormat(locale, /** @type {Intl.NumberFormatOptions} */ ({ ...format, ...digits })).format(value);
}

/** The kind of a file by the end of its name, such as PDF; empty without one. @param {string} name */
export const extensionOf = (name) => (name.match(/[^.]\.([a-z0-9]{1,5})$/i)?.[1] ?? "").toUpperCase();

/** A duration, such as 1:05. @param {number} seconds */
export function durationText(seconds) {
  const whole = Math.floor(seconds);
  const two = new Intl.NumberFormat(locale, { minimumIntegerDigits: 2 });
  const any = new Intl.NumberFormat(locale, { useGrouping: false });
  return `${any.format(Math.floor(whole / 60))}:${two.format(whole % 60)}`;
}

/** The bytes of a text in base64. @param {string} text */
export const bytesOf = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
