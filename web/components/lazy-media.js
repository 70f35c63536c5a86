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

/** A picture that fails with an address that can't have expired is loaded again so often: the server may be too busy for it. */
const MAX_RETRIES = 3;

/**
 * @typedef {object} Source
 * @property {App} app
 * @property {Wanted} wanted
 * @property {number} renewed_ms when the address was renewed last
 * @property {number} retries since the picture was loaded last
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
  const source = { app, wanted, renewed_ms: 0, retries: 0 };
  element.addEventListener("load", () => {
    source.retries = 0;
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
    if (url) element.src = url;
    else setState(element, "gone");
  } catch {
    fillLater(element);
  }
}

/** @param {Media} element */
const fillLater = (element) => void setTimeout(() => element.isConnected && whenSeen(element), PAUSE_MS);

/** The address may have expired: a video goes on where it was. @param {Media} element */
async function renew(element) {
  const source = sources.get(element);
  if (!source || !element.getAttribute("src")) return;
  if (!mayHaveExpired(source.renewed_ms) || !source.wanted.file_id) {
    if (element instanceof HTMLMediaElement) return setState(element, "unplayable");
    if (!source.wanted.file_id || ++source.retries > MAX_RETRIES) return setState(element, "gone");
    return fillLater(element);
  }
  source.renewed_ms = Date.now();
  linksOf(source.app).forget(source.wanted);
  const [at, isPlaying] = element instanceof HTMLMediaElement ? [element.currentTime, !element.paused] : [0, false];
  await fill(element);
  if (!(element instanceof HTMLMediaElement)) return;
  if (at) element.currentTime = at;
  if (isPlaying) await element.play().catch(() => {});
}

/** @param {Element} element @param {"loaded" | "gone" | "unplayable"} state */
const setState = (element, state) => element.parentElement?.setAttribute("data-state", state);
