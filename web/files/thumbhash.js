// Decodes a thumbhash: the lowest frequencies of a picture, in some 25 bytes, which are drawn until the picture is loaded.
// The format is that of https://evanw.github.io/thumbhash: brightness (l), two differences of colours (p: yellow - blue,
// q: red - green) and opacity (a), each as the weights of a cosine transform.

import { bytesOf } from "./kinds.js";

/** The longer edge of the drawn placeholder, in pixels: the browser enlarges it smoothly. */
const EDGE = 32;

/** @typedef {{width: number, height: number, rgba: Uint8ClampedArray<ArrayBuffer>}} Pixels */

/**
 * One of l, p, q and a: its mean, and the weights of its waves, of `nx` by `ny` frequencies at most.
 * @typedef {{mean: number, nx: number, ny: number, weights: number[]}} Channel
 */

/**
 * Draws the placeholder of a picture; nothing without a readable one.
 * @param {HTMLCanvasElement} canvas
 * @param {{thumbhash?: string, width?: number, height?: number}} file
 */
export function draw(canvas, { thumbhash = "", width = 1, height = 1 }) {
  const pixels = placeholder(bytesOf(thumbhash), width / (height || 1));
  if (!pixels) return;
  [canvas.width, canvas.height] = [pixels.width, pixels.height];
  canvas.getContext("2d")?.putImageData(new ImageData(pixels.rgba, pixels.width, pixels.height), 0, 0);
}

/**
 * The pixels of the placeholder.
 * @param {Uint8Array} hash
 * @param {number} shape width by height of the picture
 * @returns {Pixels | null} null if it is no thumbhash
 */
export function placeholder(hash, shape) {
  const channels = channelsOf(hash);
  if (!channels) return null;
  const [width, height] = [Math.min(shape, 1), Math.min(1 / shape, 1)].map((part) => Math.max(Math.round(EDGE * part), 1));
  if (!width || !height) return null;
  const [columns, rows] = [wavesOf(width), wavesOf(height)];
  const rgba = new Uint8ClampedArray(4 * width * height);
  for (const [y, row] of rows.entries())
    for (const [x, column] of columns.entries()) {
      const [l = 0, p = 0, q = 0, a = 1] = channels.map((channel) => valueOf(channel, column, row));
      const blue = l - (2 / 3) * p;
      const red = (3 * l - blue + q) / 2;
      rgba.set([red, red - q, blue, a].map((part) => Math.min(Math.max(part, 0), 1) * 255), 4 * (y * width + x));
    }
  return { width, height, rgba };
}

/** @param {Uint8Array} hash @returns {Channel[] | null} l, p, q, and a if the picture has transparent parts */
function channelsOf(hash) {
  const [one = 0, two = 0, three = 0, four = 0, five = 0, six = 0] = hash;
  const head = one | (two << 8) | (three << 16);
  const more = four | (five << 8);
  const hasOpacity = head >> 23 === 1;
  const isLandscape = more >> 15 === 1;
  const [longer, shorter] = [hasOpacity ? 5 : 7, Math.max(more & 7, 3)];
  const [nx, ny] = isLandscape ? [longer, shorter] : [shorter, longer];
  /** @type {[mean: number, scale: number, nx: number, ny: number][]} */
  const described = [
    [(head & 63) / 63, ((head >> 18) & 31) / 31, nx, ny],
    [((head >> 6) & 63) / 31.5 - 1, (((more >> 3) & 63) / 63) * 1.25, 3, 3],
    [((head >> 12) & 63) / 31.5 - 1, (((more >> 9) & 63) / 63) * 1.25, 3, 3],
  ];
  if (hasOpacity) described.push([(six & 15) / 15, (six >> 4) / 15, 5, 5]);
  const packed = [...hash.subarray(hasOpacity ? 6 : 5)].flatMap((byte) => [byte & 15, byte >> 4]);
  let at = 0;
  const channels = described.map(([mean, scale, nx, ny]) => {
    const count = [...frequencies({ nx, ny })].length;
    const weights = packed.slice(at, (at += count)).map((step) => (step / 7.5 - 1) * scale);
    return { mean, nx, ny, weights };
  });
  return at > packed.length ? null : channels;
}

/**
 * The frequencies of a channel, those of the mean left out: the lower triangle of all pairs.
 * @param {{nx: number, ny: number}} channel
 */
function* frequencies({ nx, ny }) {
  for (let y = 0; y < ny; y++) for (let x = y ? 0 : 1; x * ny < nx * (ny - y); x++) yield { x, y };
}

/** For each pixel of a line, the waves of all frequencies there. @param {number} length of the line */
const wavesOf = (length) =>
  Array.from({ length }, (_, at) =>
    Array.from({ length: 7 }, (_, frequency) => Math.cos((Math.PI / length) * (at + 0.5) * frequency)),
  );

/** @param {Channel} channel @param {number[]} column the waves at the pixel's place in its line @param {number[]} row in its column */
function valueOf(channel, column, row) {
  let value = channel.mean;
  let at = 0;
  for (const { x, y } of frequencies(channel)) value += 2 * (channel.weights[at++] ?? 0) * (column[x] ?? 0) * (row[y] ?? 0);
  return value;
}
