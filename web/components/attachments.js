// The files that are attached to a draft, above the text field. The module is loaded when the first ones are attached.

import { sizeText } from "../files/kinds.js";
import { isPicture } from "../files/picked.js";
import { MAX_ATTACHED, MAX_DRAFT_BYTES } from "../files/attached.js";
import { moveFocus } from "../focus.js";
import { nameList } from "../format.js";
import { fileTexts } from "../languages/files.js";
import { h, Root } from "../view.js";
import { iconButton } from "./buttons.js";
import { fileIcon } from "./file-icons.js";
import { menuItems } from "./menu.js";
import { placeBeside, setExpanded } from "./popover-position.js";
import { loadStyle } from "./style.js";

/** @import {App} from "./app-shell.js" */
/** @import {Attached} from "../files/attached.js" */
/** @import {MessageFile} from "../types.js" */

/** While files are held over the chat, the browser reports it at least this often, in milliseconds. */
const HELD_MS = 700;

/** Loads what attachments need. @param {App} app */
export async function openAttachments({ sending }) {
  await Promise.all([sending.loadUploads(), loadStyle("styles/attachments.css")]);
}

export class Attachments {
  /** Why files were not attached, for people. */
  #problem = "";
  #app;
  #chat_id;
  #focus;
  /** The ids of pictures that this browser can't show. */
  #broken = new Set();
  #isHeldOver = false;
  /** @type {HTMLInputElement | undefined} */
  #original;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {App} app after `openAttachments` @param {string} chat_id @param {() => void} focus moves the focus to the text */
  constructor(app, chat_id, focus) {
    this.#app = app;
    this.#chat_id = chat_id;
    this.#focus = focus;
    this.#uploads.attached.open(chat_id);
  }

  /** Why files were not attached, or are not kept with the draft, for people. */
  get problem() {
    const { tooMuch, noRoom, lost } = this.#uploads.attached.notKept(this.#chat_id);
    const { notKept, noRoomFor, lostFromDraft } = fileTexts.sending;
    const sentences = [
      this.#problem,
      lost.length && lostFromDraft(nameList(lost), lost.length),
      tooMuch.length && notKept(nameList(tooMuch), sizeText(MAX_DRAFT_BYTES)),
      noRoom.length && noRoomFor(nameList(noRoom)),
    ];
    return sentences.filter(Boolean).join(" ");
  }

  get #uploads() {
    return /** @type {import("../files/uploads.js").Uploads} */ (this.#app.sending.uploads);
  }

  /** @param {readonly File[]} files */
  add(files) {
    clearTimeout(this.#timer);
    this.#isHeldOver = false;
    const { tooLarge, tooMany } = this.#uploads.attached.add(this.#chat_id, files);
    const [first] = tooLarge;
    this.#problem = tooMany ? fileTexts.sending.tooMany(MAX_ATTACHED) : "";
    if (first) this.#problem = fileTexts.sending.tooLarge(first.name, sizeText(this.#app.sending.maxFileBytes));
    this.#app.root.invalidate();
  }

  /** Returns the attached files, and removes them from the draft. */
  take() {
    this.#problem = "";
    return this.#uploads.attached.take(this.#chat_id);
  }

  /** Files are held over the chat: shows for some time that they can be dropped. */
  draggedOver() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#setHeldOver(false), HELD_MS);
    this.#setHeldOver(true);
  }

  /** @param {boolean} isHeldOver */
  #setHeldOver(isHeldOver) {
    if (this.#isHeldOver === isHeldOver) return;
    this.#isHeldOver = isHeldOver;
    this.#app.root.invalidate();
  }

  view() {
    const { attached } = this.#uploads;
    const files = attached.of(this.#chat_id);
    const shown = attached.shown(this.#chat_id);
    return [
      this.#isHeldOver && h("div", { class: "drop-here", key: "drop" }, fileTexts.sending.drop),
      h("p", { class: "unseen", role: "status", key: "attached-count" }, files.length > 0 && fileTexts.sending.count(files.length)),
      shown.length > 0 &&
        h(
          "ul",
          { class: "attached", role: "list", "aria-label": fileTexts.sending.attached, key: "attached" },
          shown.map((held) => this.#item(held)),
        ),
      files.some(({ media_type }) => isPicture(media_type)) && this.#quality(),
    ];
  }

  /** @param {Attached} held */
  #item({ file, isLeaving }) {
    const { client_file_id: id = "", name } = file;
    const isShown = isPicture(file.media_type) && !this.#broken.has(id);
    const remove = (/** @type {Event} */ event) => this.#remove(file, /** @type {HTMLElement} */ (event.currentTarget));
    const look = isShown ? "attached-picture" : "attached-file";
    return h(
      "li",
      { key: id, class: isLeaving ? `${look} leaving` : look },
      isShown ? this.#picture(file) : words(file),
      !isLeaving && iconButton(fileTexts.sending.remove(name), "close", null, { onclick: remove }),
    );
  }

  /** @param {MessageFile} file */
  #picture(file) {
    const onerror = () => {
      this.#broken.add(file.client_file_id);
      this.#app.root.invalidate();
    };
    const src = this.#uploads.urlOf(file) || null; // none until the bytes are loaded: an empty one would be an error
    return h("img", { src, alt: file.name, title: file.name, draggable: "false", onerror });
  }

  /** The focus goes to the next file, or to the text. @param {MessageFile} file @param {HTMLElement} button */
  #remove(file, button) {
    const item = button.closest("li");
    const next = item?.nextElementSibling ?? item?.previousElementSibling;
    this.#problem = "";
    this.#uploads.attached.remove(this.#chat_id, file);
    const focus = () => {
      const target = next?.querySelector("button");
      if (target) target.focus();
      else this.#focus();
    };
    this.#app.root.after(focus);
    this.#app.root.invalidate();
  }

  /** The switch that keeps the camera's data in pictures. */
  #quality() {
    const { original, originalNote } = fileTexts.sending;
    this.#app.root.after(() => {
      if (this.#original) this.#original.checked = this.#uploads.attached.isOriginal(this.#chat_id); // another tab changes it too
    });
    const props = {
      ...{ type: "checkbox", role: "switch", name: "original", "aria-describedby": "original-note" },
      ref: (/** @type {HTMLInputElement} */ element) => void (this.#original = element),
      onchange: () => this.#uploads.attached.setOriginal(this.#chat_id, this.#original?.checked === true),
    };
    return h(
      "div",
      { class: "quality", key: "quality" },
      h("label", { class: "choice" }, h("input", props), h("span", {}, original)),
      h("p", { class: "note", id: "original-note" }, originalNote),
    );
  }

  /**
   * Lets the person choose between the pictures of a phone, its camera and its files.
   * @param {HTMLElement} opener
   * @param {HTMLInputElement} picker
   */
  openChoices(opener, picker) {
    const { library, camera, files } = fileTexts.sending;
    const element = document.createElement("rookery-attach-menu");
    /** @param {string} accept @param {boolean} isCaptured */
    const choose = (accept, isCaptured) => () => {
      picker.accept = accept;
      picker.toggleAttribute("capture", isCaptured);
      picker.click();
    };
    const choices = [
      { label: library, choose: choose("image/*,video/*", false) },
      { label: camera, choose: choose("image/*", true) },
      { label: files, choose: choose("", false) },
    ];
    /** @type {HTMLElement | undefined} */
    let menu;
    const items = () => /** @type {HTMLElement[]} */ ([...(menu?.children ?? [])]);
    const props = {
      ...{ class: "menu", role: "menu", "aria-label": fileTexts.sending.attach, popover: "auto" },
      ref: (/** @type {HTMLElement} */ made) => void (menu = made),
      ontoggle: (/** @type {ToggleEvent} */ { newState }) => {
        setExpanded(opener, newState === "open");
        if (newState === "closed") element.remove();
      },
      onkeydown: (/** @type {KeyboardEvent} */ event) => moveFocus(event, items()),
    };
    new Root(element, () => h("div", props, menuItems(choices, () => menu?.hidePopover()))).render();
    opener.closest("rookery-chat")?.append(element);
    menu?.showPopover();
    if (menu) placeBeside(menu, opener);
  }
}

/** @param {MessageFile} file */
function words({ name, size }) {
  const text = h("span", { class: "words" }, h("strong", { dir: "auto" }, name), h("small", {}, sizeText(Number(size))));
  return [fileIcon("file"), text];
}
