// Pictures and videos that get their addresses when they come near the view. An address expires: a picture or a video
// that can't be loaded gets another one.

import { kindOf } from "../files/kinds.js";
import { linksOf, mayHaveExpired } from "../files/links.js";

/** @import {App} from "./app-shell.js" */
/** @import {Wanted} from "../files/links.js" */
/** @import {Message, MessageFile} from "../types.js" */

/** @typedef {HTMLImageElement | HTMLMediaElement} Media */

/** Addresses are requested when an element is this near to the view. */
const AHEAD = "800px";
/** After a request without a response, or for a message that is not recorded yet, the next one is sent after this time, in milliseconds. */
const PAUSE_MS = 5_000;
/** While the server can't send the bytes, the pause doubles up to this time, in milliseconds. */
const LONGEST_PAUSE_MS = 30_000;
/** A response that is not there after this time has failed, in milliseconds. */
const PATIENCE_MS = 10_000;

/** A picture or a video that fails although the server has its bytes is loaded again so often: the server may be too busy to send them. */
const MAX_RETRIES = 3;
/** The code of the error of a video whose bytes have come, and which the browser can't decode. */
const MEDIA_ERR_DECODE = 3;

/**
 * @typedef {object} Source
 * @property {App} app
 * @property {MessageFile} file
 * @property {Wanted} wanted without an id while the file is not uploaded
 * @property {number} renewed_ms when the address was renewed last
 * @property {number} retries since it was loaded last, after errors although the server could send the bytes
 * @property {number} failures since it was loaded last, while the server could not send the bytes
 */

/** @type {WeakMap<Element, Source>} */
const sources = new WeakMap();

/** @type {IntersectionObserver | null} */
let observer = null;

/** @param {IntersectionObserverEntry[]} entries */
function seen(entries) {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    observer?.unobserve(target);
    void fill(/** @type {Media} */ (target));
  }
}

/**
 * A file and the message in which the user reads it.
 * @param {Message} message
 * @param {MessageFile} file
 * @returns {Wanted}
 */
export function wantedIn({ chat_id, message_id }, file) {
  const place = message_id ? { chat_id, message_id } : { chat_id: file.chat_id, message_id: file.message_id };
  return { file_id: file.file_id, ...place };
}

/** The address of a file's bytes in this browser, which is sending it or has sent it; empty for others. @param {App} app @param {MessageFile} file */
export const localUrl = ({ sending }, file) => sending.uploads?.urlOf(file) ?? "";

/**
 * Loads a picture or a video: at once if this browser has its bytes, else when it comes near the view. Its parent gets
 * `data-state`: "loaded", "gone" if the user may not read it any more, or "unplayable" for a video that the browser
 * can't decode.
 * @param {App} app
 * @param {Media} element that was just made
 * @param {MessageFile} file
 * @param {Wanted} wanted
 */
export function showLater(app, element, file, wanted) {
  const source = { app, file, wanted, renewed_ms: 0, retries: 0, failures: 0 };
  const loaded = () => void (source.retries = source.failures = 0);
  element.addEventListener("loadedmetadata", loaded);
  element.addEventListener("load", () => {
    loaded();
    setState(element, "loaded");
  });
  element.addEventListener("error", () => void renew(element));
  sources.set(element, source);
  const url = kindOf(file) === "file" ? "" : localUrl(app, file); // the first page of a document is not here
  if (url) element.src = url;
  else whenSeen(element);
}

/** @param {Media} element */
function whenSeen(element) {
  const options = { scrollMargin: AHEAD, rootMargin: AHEAD };
  observer ??= new IntersectionObserver(seen, options);
  observer.observe(element);
}

/** Gives the element its address. @param {Media} element */
async function fill(element) {
  const source = sources.get(element);
  if (!source) return;
  try {
    const url = await linksOf(source.app).get(source.wanted);
    if (url) setAddress(element, url);
    else setState(element, "gone");
  } catch {
    fillLater(element);
  }
}

/** A video goes on where it was, and plays only if it did: a new address sets it back. @param {Media} element @param {string} url */
function setAddress(element, url) {
  const [at, isPlaying] = element instanceof HTMLMediaElement ? [element.currentTime, !element.paused] : [0, false];
  element.src = url;
  if (!(element instanceof HTMLMediaElement)) return;
  if (at) element.currentTime = at;
  if (isPlaying) element.play().catch(() => {});
}

/** @param {Media} element @param {number} [pause_ms] */
const fillLater = (element, pause_ms = PAUSE_MS) => void setTimeout(() => element.isConnected && whenSeen(element), pause_ms);

/** The address may have expired; else the server is asked whether it can send the bytes now. @param {Media} element */
async function renew(element) {
  const source = sources.get(element);
  const address = element.getAttribute("src");
  if (!source || !address) return;
  const broken = element instanceof HTMLMediaElement ? "unplayable" : "gone";
  if (!source.wanted.file_id) {
    const file_id = source.app.sending.uploads?.fileIdOf(source.file);
    if (!file_id) return setState(element, broken);
    source.wanted = { ...source.wanted, file_id };
  }
  if (mayHaveExpired(source.renewed_ms)) {
    source.renewed_ms = Date.now();
    linksOf(source.app).forget(source.wanted);
    return fill(element);
  }
  const status = await statusOf(address);
  if ([403, 404, 410].includes(status)) return setState(element, "gone");
  if (!status || status === 408 || status === 429 || status >= 500) {
    source.retries = -1; // the next error may still come from before the server was back: one more try
    return fillLater(element, Math.min(PAUSE_MS * 2 ** source.failures++, LONGEST_PAUSE_MS));
  }
  const isUndecodable = element instanceof HTMLMediaElement && element.error?.code === MEDIA_ERR_DECODE;
  if (++source.retries > (isUndecodable ? 0 : MAX_RETRIES)) return setState(element, broken);
  fillLater(element);
}

/** The status of a file's bytes; 0 without a response. @param {string} address */
const statusOf = (address) =>
  fetch(address, { method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) }).then(({ status }) => status, () => 0);

/** @param {Element} element @param {"loaded" | "gone" | "unplayable"} state */
const setState = (element, state) => element.parentElement?.setAttribute("data-state", state);
