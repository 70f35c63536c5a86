// The viewer: one picture or video of a chat on the whole screen, with those before and after it. By keyboard, wheel and
// touch. Loaded when it is first opened.

import { isMedia, kindOf, renditionFor } from "../files/kinds.js";
import { linksOf, mayHaveExpired } from "../files/links.js";
import { MediaAround } from "../files/media.js";
import { draw } from "../files/thumbhash.js";
import { mirrored } from "../focus.js";
import { displayName, exactTime, fullTime, withoutDirectionControls } from "../format.js";
import { compareIds } from "../ids.js";
import { textOf } from "../kinds/edited.js";
import { fileTexts } from "../languages/files.js";
import { texts } from "../languages/language.js";
import { shownPlain } from "../messages.js";
import { h, Root } from "../view.js";
import { iconButton } from "./buttons.js";
import { fileButton } from "./file-icons.js";
import { localUrl, showLater, wantedIn } from "./lazy-media.js";
import { download, unplayable } from "./message-files.js";
import { Zoom } from "./zoom.js";

/** @import {App} from "./app-shell.js" */
/** @import {ChatFiles, Item} from "../files/media.js" */
/** @import {Message, MessageFile} from "../types.js" */

/** Older pictures are loaded when this many are left. */
const AHEAD = 5;
/** Shown characters of a caption. */
const CAPTION = 1_000;

export class Viewer {
  element = document.createElement("dialog");
  #app;
  #goTo;
  #around;
  /** The shown message and file, until another one is chosen. @type {Item} */
  #item;
  /** @type {Zoom} */
  #zoom;
  /** @type {Root} */
  #root = new Root(this.element, () => this.#view());
  /** The address of the shown picture with enough pixels, once it is loaded; else empty. */
  #sharp = "";
  /** The address that is being loaded in its place, or was loaded last. */
  #sharper = "";
  /** Whether its bytes in this browser could not be decoded: the server has it in another format. */
  #isUnshown = false;
  /** When its address was renewed last, in milliseconds since 1970; 0: never. */
  #renewed_ms = 0;

  /**
   * @param {App} app
   * @param {Message} message
   * @param {MessageFile} file
   * @param {(message_id: string) => void} goTo shows a message in the open chat
   * @param {ChatFiles} [list] in which it was chosen; else it was in the open chat
   */
  constructor(app, message, file, goTo, list) {
    this.#app = app;
    this.#goTo = goTo;
    this.#item = { message, file };
    this.#around = new MediaAround(app, message, list);
    this.#zoom = new Zoom({
      changed: () => this.#zoomed(),
      turn: (by) => this.#turn(by),
      close: () => this.#close(),
    });
    this.element.className = "viewer";
    this.element.tabIndex = -1;
    this.element.setAttribute("aria-label", fileTexts.viewer.label);
    this.element.addEventListener("keydown", (event) => this.#keyPressed(event));
    const ends = [app.chats, app.sending, this.#around].map((store) => store.subscribe(this.#root.invalidate));
    this.element.addEventListener("close", () => {
      for (const end of ends) end();
      this.#root.stop();
      this.element.remove();
    });
  }

  open() {
    document.body.append(this.element);
    this.#root.render();
    this.element.showModal();
    this.#shown();
  }

  #close() {
    this.element.close();
  }

  /** The place of the shown item among all; -1 if its message was deleted. */
  #at(items = this.#around.items) {
    const { message, file } = this.#item;
    const place = message.files.indexOf(file);
    return items.findIndex((item) => item.message.key === message.key && item.message.files.indexOf(item.file) === place);
  }

  /** Goes to another item. @param {number} by 1 for the next, -1 for the one before */
  #turn(by) {
    const { items } = this.#around;
    const item = items[this.#at(items) + by];
    if (!item) return;
    this.#choose(item);
    this.#root.render();
    if (!this.element.querySelector(":focus:enabled")) this.element.focus(); // there is no further one: keys go on
    this.#shown();
  }

  /** @param {Item} item */
  #choose(item) {
    this.#item = item;
    this.#sharp = this.#sharper = "";
    this.#renewed_ms = 0;
    this.#isUnshown = false;
    this.#zoom.reset();
  }

  /** Loads all pixels of the shown picture, its neighbours, and older items. */
  #shown() {
    const { items } = this.#around;
    const at = this.#at(items);
    void this.#sharpen();
    for (const neighbour of [items[at + 1], items[at - 1]]) if (neighbour) void this.#preload(neighbour);
    if (at < AHEAD && this.#around.hasOlder) void this.#around.loadOlder();
  }

  /** The renditions of pictures on the screen. @param {Item} item */
  #wanted({ message, file }) {
    const pixels = Math.max(innerWidth, innerHeight) * devicePixelRatio * (this.#zoom.scale > 1 ? 4 : 1);
    return { ...wantedIn(message, file), rendition: renditionFor(file, pixels) };
  }

  /** Shows the picture with enough pixels once they are loaded; what is shown meanwhile stays until then. */
  async #sharpen() {
    const item = this.#item;
    const { file } = item;
    if (kindOf(file) !== "picture") return;
    const local = this.#isUnshown ? "" : localUrl(this.#app, file);
    const url = local || (file.file_id && (await this.#addressOf(item)));
    if (!url || item !== this.#item || url === this.#sharper) return;
    this.#sharper = url;
    const isLoaded = await decoded(url);
    if (url !== this.#sharper) return;
    if (isLoaded) this.#sharp = url;
    else {
      this.#isUnshown ||= url === local;
      this.#renew(item);
    }
    this.#root.invalidate();
  }

  /** The address of the shown picture may have expired: loads it by another one. @param {Item} item */
  #renew(item) {
    this.#sharper = "";
    if (!mayHaveExpired(this.#renewed_ms)) return;
    this.#renewed_ms = Date.now();
    linksOf(this.#app).forget(this.#wanted(item));
    void this.#sharpen();
  }

  /** @param {Item} item */
  async #preload(item) {
    if (kindOf(item.file) !== "picture" || localUrl(this.#app, item.file)) return;
    const url = await this.#addressOf(item);
    if (url) await decoded(url);
  }

  /** @param {Item} item */
  #addressOf(item) {
    return linksOf(this.#app).get(this.#wanted(item)).catch(() => "");
  }

  #view() {
    const { items } = this.#around;
    const at = this.#at(items);
    if (at < 0) queueMicrotask(() => this.element.open && this.#gone());
    const { message, file } = items[at] ?? this.#item;
    const { previous, next } = fileTexts.viewer;
    const caption = textOf(message) && shownPlain({ ...message, files: [] }, this.#app.chats.profiles).slice(0, CAPTION);
    return [
      this.#head(message, file),
      h(
        "div",
        { key: "stage", class: "stage", ref: (/** @type {HTMLElement} */ element) => this.#zoom.listen(element) },
        this.#content(message, file),
      ),
      fileButton(previous, "previous", () => this.#turn(-1), { key: "previous", class: "turn previous", disabled: at <= 0 }),
      fileButton(next, "next", () => this.#turn(1), { key: "next", class: "turn next", disabled: at < 0 || at >= items.length - 1 }),
      caption && h("p", { key: "caption", class: "caption", dir: "auto" }, caption),
    ];
  }

  /** @param {Message} message @param {MessageFile} file */
  #head(message, file) {
    const { zoomIn, zoomOut, showInChat, sentBy } = fileTexts.viewer;
    const { chats } = this.#app;
    const profile = chats.profiles.get(message.sender_id);
    const isOwn = message.sender_id === chats.me.user_id;
    const author = isOwn ? texts.message.you : profile ? displayName(profile) : texts.message.someone;
    const isPicture = kindOf(file) === "picture";
    const go = () => {
      this.#close();
      this.#goTo(message.message_id);
    };
    return h(
      "div",
      { key: "head", class: "viewer-head" },
      h(
        "p",
        { class: "viewer-title", title: exactTime(message.at_ms) },
        h("span", { dir: "auto" }, sentBy(author, fullTime(message.at_ms))),
        h("span", { class: "unseen", "aria-live": "polite" }, withoutDirectionControls(file.name)),
      ),
      isPicture && fileButton(zoomOut, "zoomOut", () => this.#zoom.by(1 / 2), { disabled: this.#zoom.scale <= 1 }),
      isPicture && fileButton(zoomIn, "zoomIn", () => this.#zoom.by(2), { disabled: !this.#zoom.canGrow }),
      message.message_id && fileButton(showInChat, "showInChat", go),
      file.file_id && fileButton(fileTexts.download, "download", () => void download(this.#app, message, file)),
      iconButton(texts.close, "close", () => this.#close(), { autofocus: true }),
    );
  }

  /** By a button, a key, the wheel or fingers: a larger picture needs more pixels. */
  #zoomed() {
    this.#root.invalidate();
    void this.#sharpen();
  }

  /** @param {Message} message @param {MessageFile} file */
  #content(message, file) {
    const key = `${message.key} ${message.files.indexOf(file)}`;
    const alt = withoutDirectionControls(file.name);
    if (kindOf(file) === "video") {
      const ref = (/** @type {HTMLVideoElement} */ element) => showLater(this.#app, element, file, wantedIn(message, file));
      const props = { controls: true, autoplay: true, playsinline: true, "aria-label": alt, ref };
      return h("div", { key, class: "shown" }, h("video", props), gone(), unplayable(this.#app, message, file));
    }
    const place = (/** @type {HTMLElement} */ element) => {
      element.style.setProperty("--shape", String((file.width ?? 1) / (file.height || 1)));
      element.style.setProperty("--natural", `${file.width}px`);
      this.#zoom.move(element);
    };
    const small = (/** @type {HTMLImageElement} */ element) =>
      showLater(this.#app, element, file, { ...wantedIn(message, file), rendition: renditionFor(file, 320 * devicePixelRatio) });
    return h(
      "div",
      { key, class: "shown picture", ref: place },
      file.thumbhash && h("canvas", { key: "placeholder", "aria-hidden": "true", ref: (/** @type {HTMLCanvasElement} */ canvas) => draw(canvas, file) }),
      h("img", { key: "small", alt, draggable: "false", ref: small }),
      this.#sharp && h("img", { key: "sharp", class: "sharp", alt: "", draggable: "false", src: this.#sharp }),
      gone(),
    );
  }

  /** The shown message was deleted: the next one is shown, or none. */
  #gone() {
    const { items } = this.#around;
    const { message_id } = this.#item.message;
    const other = items.find((item) => compareIds(item.message.message_id, message_id) > 0) ?? items.at(-1);
    if (!other || !isMedia(other.file)) return this.#close();
    this.#choose(other);
    this.#root.invalidate();
    this.#shown();
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    if (event.target instanceof HTMLVideoElement || event.ctrlKey || event.metaKey || event.altKey) return;
    const turns = /** @type {Record<string, number>} */ ({ ArrowRight: 1, ArrowLeft: -1, PageDown: 1, PageUp: -1 });
    const by = turns[mirrored(event.key)];
    const isHandled = this.#zoom.keyPressed(event.key) || by !== undefined;
    if (!isHandled) return;
    event.preventDefault();
    if (by !== undefined && (this.#zoom.scale <= 1 || event.key.startsWith("Page"))) this.#turn(by);
  }
}

const gone = () => h("span", { key: "gone", class: "gone" }, fileTexts.gone);

/** Whether a picture could be loaded. @param {string} url */
async function decoded(url) {
  const image = new Image();
  image.src = url;
  return image.decode().then(() => true, () => false);
}
