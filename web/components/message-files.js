// The files of a message: pictures and videos as an album, sounds with a player, others as rows, with the first lines of
// a text. Every size is known before anything is loaded, so that nothing moves. Loaded with the first message that has files.

import { explain } from "../api.js";
import { extensionOf, isMedia, kindOf, renditionFor, shapeOf, sizeText } from "../files/kinds.js";
import { withoutDirectionControls } from "../format.js";
import { icon } from "../icons.js";
import { fileTexts } from "../languages/files.js";
import { texts } from "../languages/language.js";
import { linksOf } from "../files/links.js";
import { linesOf } from "../files/plain-text.js";
import { saveAs } from "../files/save-as.js";
import { draw } from "../files/thumbhash.js";
import { h } from "../view.js";
import { fileButton, fileIcon } from "./file-icons.js";
import { localUrl, showLater, wantedIn } from "./lazy-media.js";
import { openDialog } from "./open-dialog.js";
import { player, playerState } from "./player.js";

/** @import {App} from "./app-shell.js" */
/** @import {Choice} from "./menu.js" */
/** @import {Message, MessageFile} from "../types.js" */

/** The longer edge of a picture in a message, in pixels at the usual text size: as in `files.css`. */
const EDGE = 320;
/** A picture with fewer pixels in a row is not enlarged. */
const SMALL = EDGE / 2;
/** How many pictures are in each row of an album, by their number. */
const ROWS = [[], [1], [2], [1, 2], [2, 2], [2, 3], [3, 3], [2, 2, 3], [2, 3, 3], [3, 3, 3], [2, 2, 3, 3]];
/** The looks of pictures by their number in a row. */
const PARTS = ["", "whole", "half", "third"];

/**
 * What the view of a message's files depends on, besides the message.
 * @param {App} app
 * @param {Message} message
 */
export function stateOf(app, { files, state }) {
  const isPending = state === "pending";
  const parts = files.map((file) => {
    const sent = isPending && app.sending.uploads?.progressOf(file);
    return [kindOf(file) === "audio" && playerState(app, file), sent && [sent.sent, sent.isWaiting]];
  });
  return JSON.stringify(parts);
}

/**
 * @param {App} app
 * @param {Message} message
 * @param {number} tabindex
 * @param {(message_id: string) => void} goTo
 */
export function filesView(app, message, tabindex, goTo) {
  const [first, ...more] = message.files.filter(isMedia);
  const others = message.files.filter((file) => !isMedia(file));
  return h(
    "div",
    { class: "files", key: "files" },
    first && album(app, message, [first, ...more], { tabindex, goTo }),
    others.map((file, at) => [row(app, message, file, String(at), tabindex), beginning(app, message, file, `text ${at}`, tabindex)]),
  );
}

// ---- pictures and videos

/**
 * @param {App} app
 * @param {Message} message
 * @param {[MessageFile, ...MessageFile[]]} media
 * @param {{tabindex: number, goTo: (message_id: string) => void}} how
 */
function album(app, message, media, { tabindex, goTo }) {
  const parts = (ROWS[media.length] ?? ROWS[10] ?? []).flatMap((count) => Array(count).fill(PARTS[count]));
  const isAlone = media.length === 1;
  const tiles = media.map((file, at) => {
    const key = `${at} ${shapeOf(file)}`;
    if (isAlone && kindOf(file) === "video") return video(app, message, file, key, tabindex);
    const alone = (file.width ?? 0) < SMALL ? "alone small" : "alone";
    return tile(app, message, file, { key, tabindex, goTo, look: isAlone ? alone : parts[at] });
  });
  const [first] = media;
  const ref = (/** @type {HTMLElement} */ element) => isAlone && setShape(element, first);
  const props = { class: isAlone ? "album alone" : "album", key: `album ${shapeOf(first)}` };
  return h("div", { ...props, ref }, tiles, uploading(app, message, media, tabindex));
}

/**
 * A picture, or a video of an album, which opens the viewer.
 * @param {App} app
 * @param {Message} message
 * @param {MessageFile} file
 * @param {{key: string, tabindex: number, look: string, goTo: (message_id: string) => void}} how
 */
function tile(app, message, file, { key, tabindex, look, goTo }) {
  const isVideo = kindOf(file) === "video";
  const name = withoutDirectionControls(file.name);
  const label = isVideo ? fileTexts.player.video(name) : fileTexts.openPicture(name);
  const props = { key, class: `picture ${look}`, type: "button", "aria-label": label, tabindex };
  const open = () => openViewer(app, message, file, goTo);
  return h(
    "button",
    { ...props, "aria-haspopup": "dialog", onclick: open },
    isVideo ? [h("span", { class: "round" }, fileIcon("play"))] : picture(app, message, file),
  );
}

/**
 * A picture above its placeholder.
 * @param {App} app
 * @param {Message} message
 * @param {MessageFile} file
 * @param {number} [edge] the longer edge of its place, in pixels at the usual text size
 */
export function picture(app, message, file, edge = EDGE) {
  const pixels = edge * devicePixelRatio * remScale();
  const wanted = { ...wantedIn(message, file), rendition: renditionFor(file, pixels) };
  const ref = (/** @type {HTMLImageElement} */ element) => showLater(app, element, file, wanted);
  return [
    file.thumbhash && h("canvas", { key: "placeholder", "aria-hidden": "true", ref: (/** @type {HTMLCanvasElement} */ canvas) => draw(canvas, file) }),
    h("img", { key: "img", alt: "", decoding: "async", draggable: "false", ref }),
    h("span", { key: "gone", class: "gone" }, fileTexts.gone),
  ];
}

/** How large the text is, by the browser and the settings. */
const remScale = () => parseFloat(getComputedStyle(document.documentElement).fontSize) / 16 || 1;

/** @param {HTMLElement} element @param {MessageFile} file */
function setShape(element, file) {
  element.style.setProperty("--shape", String(shapeOf(file)));
  if (file.width) element.style.setProperty("--natural", `${file.width}px`);
}

/**
 * A video that plays in its place.
 * @param {App} app
 * @param {Message} message
 * @param {MessageFile} file
 * @param {string} key
 * @param {number} tabindex
 */
function video(app, message, file, key, tabindex) {
  const ref = (/** @type {HTMLVideoElement} */ element) => showLater(app, element, file, wantedIn(message, file));
  const label = fileTexts.player.video(withoutDirectionControls(file.name));
  const props = { controls: true, preload: "metadata", playsinline: true, "aria-label": label, tabindex, ref };
  const gone = h("span", { class: "gone" }, fileTexts.gone);
  return h("div", { class: "video", key }, h("video", props), gone, unplayable(app, message, file, tabindex));
}

/**
 * In place of a video that the browser can't decode: downloads it.
 * @param {App} app
 * @param {Message} message
 * @param {MessageFile} file
 * @param {number} [tabindex]
 */
export function unplayable(app, message, file, tabindex) {
  const save = () => void download(app, message, file);
  const props = { key: "unplayable", class: "unplayable", type: "button", disabled: !file.file_id, tabindex, onclick: save };
  return h("button", props, fileTexts.player.unplayable);
}

/**
 * @param {App} app
 * @param {Message} message
 * @param {MessageFile} file
 * @param {(message_id: string) => void} goTo
 */
function openViewer(app, message, file, goTo) {
  void openDialog(app, () => import("./viewer.js"), ({ Viewer }) => new Viewer(app, message, file, goTo));
}

// ---- rows

/**
 * A sound with its player and its download, which a voice message has in its menu only, or another file with its name,
 * which downloads it.
 * @param {App} app
 * @param {Message} message
 * @param {MessageFile} file
 * @param {string} key
 * @param {number} tabindex
 */
function row(app, message, file, key, tabindex) {
  const isSound = kindOf(file) === "audio";
  const upload = progressOf(app, message, [file]);
  const content = isSound ? player(app, message, file, tabindex) : fileWords(app, message, file, upload?.text);
  const title = fileTexts.downloadNamed(withoutDirectionControls(file.name));
  const isReady = Boolean(file.file_id);
  const onclick = () => void download(app, message, file);
  const save = isReady && !file.duration_ms && fileButton(title, "download", onclick, { key: "download", tabindex });
  if (isSound || upload)
    return h("div", { class: "file-row", key }, content, upload ? [cancelButton(app, message, tabindex), bar(upload)] : save);
  return h("button", { class: "file-row", key, type: "button", title, tabindex, disabled: !isReady, onclick }, content, fileIcon("download"));
}

/**
 * The first page of a document or an icon, the name and the size of a file.
 * @param {App} app
 * @param {Message} message
 * @param {MessageFile} file
 * @param {string} [detail] in place of the size
 */
export function fileWords(app, message, file, detail) {
  const name = withoutDirectionControls(file.name);
  const kind = extensionOf(name);
  return [
    file.thumbnails?.length ? firstPage(app, message, file) : h("span", { class: "round", "aria-hidden": "true" }, fileIcon("file")),
    h(
      "span",
      { class: "file-words" },
      h("span", { class: "file-name", dir: "auto" }, name),
      h("small", {}, detail ?? fileTexts.kindAndSize(kind || fileTexts.unknownKind, sizeText(Number(file.size)))),
    ),
  ];
}

/** The first page of a document. @param {App} app @param {Message} message @param {MessageFile} file */
function firstPage(app, message, file) {
  const wanted = { ...wantedIn(message, file), rendition: String(file.thumbnails?.[0]) };
  const ref = (/** @type {HTMLImageElement} */ element) => showLater(app, element, file, wanted);
  return h("span", { class: "page", key: "page", "aria-hidden": "true" }, h("img", { alt: "", draggable: "false", ref }));
}

/**
 * The place of a text's first lines, which are loaded when they come into view, and the button that shows more of it.
 * @param {App} app
 * @param {Message} message
 * @param {MessageFile} file
 * @param {string} key
 * @param {number} tabindex
 */
function beginning(app, message, file, key, tabindex) {
  const lines = linesOf(file);
  if (!lines) return null;
  const ref = (/** @type {HTMLElement} */ place) => {
    place.style.setProperty("--lines", String(lines));
    void import("./text-file.js").then(({ showBeginning }) => showBeginning(app, place, message, file), () => {});
  };
  const label = fileTexts.text.showMoreOf(withoutDirectionControls(file.name));
  const open = () => openDialog(app, () => import("./text-viewer.js"), ({ TextViewer }) => new TextViewer(app, message, file));
  const button = { class: "text-button", type: "button", tabindex, "aria-label": label, "aria-haspopup": "dialog" };
  return h(
    "div",
    { class: "text-file", key, ref },
    h("pre", { class: "text-lines", dir: "auto" }),
    h("button", { ...button, onclick: () => void open() }, texts.message.showMore),
  );
}

/** Saves a file, by the browser. @param {App} app @param {Message} message @param {MessageFile} file */
export async function download(app, message, file) {
  try {
    const url = await linksOf(app).get({ ...wantedIn(message, file), download: true });
    if (!url) return app.notify(fileTexts.gone);
    saveAs(url, file.name);
  } catch (fault) {
    app.notify(explain(fault));
  }
}

// ---- uploads

/**
 * How far the uploads of some files are, together; null if none is under way.
 * @param {App} app
 * @param {Message} message
 * @param {readonly MessageFile[]} files
 */
function progressOf({ sending }, message, files) {
  if (message.state !== "pending") return null;
  const all = files.flatMap((file) => sending.uploads?.progressOf(file) ?? []);
  if (!all.length) return null;
  const sum = (/** @type {"sent" | "size"} */ field) => all.reduce((total, one) => total + one[field], 0);
  const [sent, size] = [sum("sent"), sum("size")];
  const { waiting, checking, progress } = fileTexts.upload;
  const isWaiting = all.every((one) => one.isWaiting);
  if (isWaiting) return { sent, size, text: waiting };
  return { sent, size, text: sent < size ? progress(sizeText(sent), sizeText(size)) : checking };
}

/** @param {App} app @param {Message} message @param {readonly MessageFile[]} files @param {number} tabindex */
function uploading(app, message, files, tabindex) {
  const upload = progressOf(app, message, files);
  return (
    upload &&
    h("div", { class: "uploading", key: "uploading" }, cancelButton(app, message, tabindex), h("span", {}, upload.text), bar(upload))
  );
}

/** @param {App} app @param {Message} message @param {number} tabindex */
function cancelButton({ sending }, message, tabindex) {
  const label = fileTexts.upload.cancel;
  const props = { class: "icon-button", type: "button", "aria-label": label, title: label, tabindex };
  return h("button", { ...props, key: "cancel", onclick: () => void sending.uploads?.cancel(message) }, icon("close"));
}

/** @param {{sent: number, size: number}} upload */
const bar = ({ sent, size }) =>
  h("progress", { key: "bar", max: Math.max(size, 1), value: sent, "aria-label": fileTexts.upload.label });

// ---- the menu of a message

/**
 * What the menu of a message offers for its only file, or for those of several that play in the message: the others are
 * downloaded from the viewer or by their rows.
 * @param {App} app
 * @param {Message} message
 * @returns {Choice[]}
 */
export function choicesOf(app, message) {
  const save = (/** @type {MessageFile} */ file, /** @type {string} */ label) => ({ label, choose: () => void download(app, message, file) });
  const stored = message.files.filter(({ file_id }) => file_id);
  const [file] = stored;
  if (message.files.length > 1) {
    const playing = stored.filter((one) => ["audio", "video"].includes(kindOf(one)));
    return playing.map((one) => save(one, fileTexts.downloadNamed(withoutDirectionControls(one.name))));
  }
  if (!file) return [];
  const copy = { label: fileTexts.copyPicture, choose: () => void copyPicture(app, message, file) };
  return [...(kindOf(file) === "picture" ? [copy] : []), save(file, fileTexts.download)];
}

/** Puts a picture into the clipboard. @param {App} app @param {Message} message @param {MessageFile} file */
async function copyPicture(app, message, file) {
  const wanted = wantedIn(message, file);
  const png = async () => {
    const largest = file.thumbnails?.at(-1);
    try {
      return await asPng(localUrl(app, file) || (await linksOf(app).get(wanted)));
    } catch (fault) {
      if (!largest) throw fault;
      // The object store may send the picture, whose pixels the page can't read then. Thumbnails come from this server.
      return asPng(await linksOf(app).get({ ...wanted, rendition: String(largest) }));
    }
  };
  try {
    await navigator.clipboard.write([new ClipboardItem({ "image/png": png() })]);
    app.notify(fileTexts.pictureCopied);
  } catch {
    app.notify(texts.message.notCopied);
  }
}

/** A picture as PNG: the only format that every browser takes into its clipboard. @param {string} url @returns {Promise<Blob>} */
async function asPng(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  canvas.getContext("2d")?.drawImage(image, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}
