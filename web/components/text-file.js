// The first lines of a text file in a message. They are read when the message comes into view, a few bytes by a range of
// the file's link, and shown as plain text. Loaded with the first text file.

import { NoResponse } from "../api.js";
import { linksOf } from "../files/links.js";
import { firstLines, HEAD_BYTES, linesOf, textIn } from "../files/plain-text.js";
import { wantedIn } from "./lazy-media.js";

/** @import {App} from "./app-shell.js" */
/** @import {Message, MessageFile} from "../types.js" */

/** Beginnings that are read at once; others wait until one is there, and are dropped when they leave the view. */
const AT_ONCE = 3;
/** After a request without a response, the next one is sent after this time, in milliseconds. */
const PAUSE_MS = 5_000;
/** A response that is not there after this time has failed, in milliseconds: it would hold up the others. */
const PATIENCE_MS = 10_000;

/** @typedef {{app: App, message: Message, file: MessageFile}} Source */

/** @type {WeakMap<Element, Source>} */
const sources = new WeakMap();
/** The places in view whose text is not requested yet. @type {Set<HTMLElement>} */
const waiting = new Set();
let underWay = 0;
/** @type {IntersectionObserver | null} */
let observer = null;

/**
 * Shows the beginning of a file in its place once the place comes into view. The place gets `data-state`:
 * "reading", then "whole", "more" if the text goes on, or "none" if there is none to show.
 * @param {App} app
 * @param {HTMLElement} place that was just made, with a `pre` element; its size does not depend on the text
 * @param {Message} message
 * @param {MessageFile} file
 */
export function showBeginning(app, place, message, file) {
  sources.set(place, { app, message, file });
  observer ??= new IntersectionObserver(seen);
  observer.observe(place);
}

/**
 * The first bytes of a file.
 * @param {App} app
 * @param {Message} message
 * @param {MessageFile} file
 * @param {number} most
 * @returns {Promise<Uint8Array | null>} null if the user may not read the file any more, or if its bytes are only at
 * another server, from which the page may not read
 * @throws {NoResponse | import("../api.js").Problem} if a later call may succeed
 */
export async function readBeginning(app, message, file, most) {
  const local = app.sending.uploads?.bytesOf(file);
  if (local) return new Uint8Array(await local.slice(0, most).arrayBuffer());
  if (!file.file_id) return null;
  const wanted = wantedIn(message, file);
  for (let attempt = 0; attempt < 2; attempt++) {
    const url = await linksOf(app).get(wanted);
    if (!url) return null;
    const { status, bytes } = await request(url, most);
    if (bytes || !status) return bytes; // no status: a redirect
    if (status === 429 || status >= 500) throw new NoResponse(`status ${status}`);
    linksOf(app).forget(wanted); // it may have expired
  }
  return null;
}

/** @param {string} url @param {number} most */
async function request(url, most) {
  const headers = { Range: `bytes=0-${most - 1}` };
  try {
    const response = await fetch(url, { headers, redirect: "manual", signal: AbortSignal.timeout(PATIENCE_MS) });
    const { status } = response;
    return { status, bytes: status === 206 ? new Uint8Array(await response.arrayBuffer()) : null };
  } catch (fault) {
    throw new NoResponse("", { cause: fault });
  }
}

/** @param {IntersectionObserverEntry[]} entries */
function seen(entries) {
  for (const { target, isIntersecting } of entries) {
    const place = /** @type {HTMLElement} */ (target);
    if (!isIntersecting) leave(place);
    else if (!place.dataset["state"]) waiting.add(place);
  }
  next();
}

/** A place without a text goes when it is out of view, where it moves no line that is read. @param {HTMLElement} place */
function leave(place) {
  waiting.delete(place);
  if (place.dataset["state"] === "none") place.hidden = true;
  if (place.hidden || !place.isConnected) observer?.unobserve(place);
}

/** Reads the places that came into view last. */
function next() {
  for (const place of [...waiting].reverse()) {
    if (underWay >= AT_ONCE) return;
    waiting.delete(place);
    underWay++;
    void fill(place).finally(() => {
      underWay--;
      next();
    });
  }
}

/** @param {HTMLElement} place */
async function fill(place) {
  const { app, message, file } = /** @type {Source} */ (sources.get(place));
  place.dataset["state"] = "reading";
  try {
    const bytes = await readBeginning(app, message, file, HEAD_BYTES);
    show(place, file, bytes && textIn(bytes, Number(file.size) > bytes.length));
  } catch {
    observer?.unobserve(place);
    delete place.dataset["state"];
    setTimeout(() => place.isConnected && observer?.observe(place), PAUSE_MS);
  }
}

/** @param {HTMLElement} place @param {MessageFile} file @param {string | null} found */
function show(place, file, found) {
  if (!found?.trim()) return void (place.dataset["state"] = "none");
  observer?.unobserve(place);
  const { text, isAll } = firstLines(found, linesOf(file));
  const lines = /** @type {HTMLElement} */ (place.querySelector("pre"));
  lines.textContent = text;
  place.dataset["state"] = isAll && Number(file.size) <= HEAD_BYTES ? "whole" : "more";
}
