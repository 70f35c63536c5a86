// The picture of a user or a group, which one may change: buttons that choose another one or remove it, and the dialog
// that crops it.

import { explain } from "../api.js";
import { Crop } from "../files/crop.js";
import { dialogTexts } from "../languages/dialogs.js";
import { h } from "../view.js";
import { textButton } from "./buttons.js";
import { Form } from "./form.js";
import { Modal } from "./modal.js";

/** @import {Api} from "../api.js" */
/** @import {Root} from "../view.js" */

/** The edge of the picture that is uploaded, in pixels: the server keeps no larger one. */
const MOST_EDGE = 512;
/** An arrow key moves the square by this part of its edge. */
const STEP = 1 / 16;
/** A key and a turn of the wheel change the size by this factor. */
const FACTOR = 1.1;

export class PictureEditor {
  #api;
  #root;
  #chat_id;
  #save;
  #problem = "";
  /** @type {HTMLInputElement | undefined} */
  #picker;

  /**
   * @param {Api} api
   * @param {Root} root renders the view
   * @param {string} chat_id of a group; empty for the user's own picture
   * @param {(token: string) => Promise<unknown>} save empty for no picture
   */
  constructor(api, root, chat_id, save) {
    this.#api = api;
    this.#root = root;
    this.#chat_id = chat_id;
    this.#save = save;
  }

  /** @param {string} [token] of the present picture */
  view(token) {
    const { choose, change, remove } = dialogTexts.picture;
    const picker = {
      ...{ type: "file", accept: "image/*", hidden: true },
      ref: (/** @type {HTMLInputElement} */ element) => void (this.#picker = element),
      onchange: () => this.#picked(),
    };
    return h(
      "div",
      { class: "picture-editor", key: "picture" },
      h("input", picker),
      textButton("text-button", () => this.#picker?.click(), token ? change : choose),
      token && textButton("text-button soft", () => void this.#remove(), remove),
      h("p", { class: "note error", role: "alert" }, this.#problem),
    );
  }

  /** @param {string} problem */
  #show(problem) {
    this.#problem = problem;
    this.#root.invalidate();
  }

  async #remove() {
    try {
      await this.#save("");
      this.#show("");
    } catch (fault) {
      this.#show(explain(fault));
    }
  }

  async #picked() {
    const [file] = this.#picker?.files ?? [];
    if (this.#picker) this.#picker.value = "";
    if (!file) return;
    const picture = new Image();
    picture.src = URL.createObjectURL(file);
    try {
      await picture.decode();
    } catch {
      URL.revokeObjectURL(picture.src);
      return this.#show(dialogTexts.picture.unknown);
    }
    this.#show("");
    const upload = async (/** @type {Blob} */ square) => {
      const { FileServer } = await import("../files/server.js");
      return this.#save(await new FileServer(this.#api).makeAvatar(square, this.#chat_id));
    };
    new CropDialog(picture, this.#chat_id ? "crop group" : "crop", upload).open();
  }
}

class CropDialog extends Modal {
  #picture;
  #look;
  #crop;
  #form;
  /** @type {HTMLElement | undefined} */
  #frame;
  /** @type {HTMLInputElement | undefined} */
  #slider;
  /** The fingers, or the mouse, by their ids. @type {Map<number, PointerEvent>} */
  #pointers = new Map();

  /**
   * @param {HTMLImageElement} picture that is decoded
   * @param {string} look of the frame
   * @param {(square: Blob) => Promise<unknown>} upload
   */
  constructor(picture, look, upload) {
    super(dialogTexts.picture.title, () => this.#content());
    this.#picture = picture;
    this.#look = look;
    this.#crop = new Crop(picture.naturalWidth, picture.naturalHeight);
    picture.alt = "";
    picture.draggable = false;
    this.#form = new Form(this.root, async () => {
      await upload(await this.#square());
      this.close();
    });
    this.element.addEventListener("close", () => URL.revokeObjectURL(picture.src));
  }

  #content() {
    const { frame, hint, zoom, save } = dialogTexts.picture;
    const stage = {
      ...{ class: this.#look, tabindex: 0, role: "group", "aria-label": frame, "aria-describedby": "crop-hint" },
      ref: (/** @type {HTMLElement} */ element) => this.#begin(element),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#keyPressed(event),
      onpointerdown: (/** @type {PointerEvent} */ event) => this.#down(event),
      onpointermove: (/** @type {PointerEvent} */ event) => this.#moved(event),
      onpointerup: (/** @type {PointerEvent} */ event) => void this.#pointers.delete(event.pointerId),
      onpointercancel: (/** @type {PointerEvent} */ event) => void this.#pointers.delete(event.pointerId),
    };
    const slider = {
      ...{ type: "range", id: "crop-zoom", min: 1, max: 8, step: 0.01 },
      oninput: (/** @type {InputEvent} */ { target }) => this.#zoom(Number(/** @type {HTMLInputElement} */ (target).value)),
      ref: (/** @type {HTMLInputElement} */ element) => {
        this.#slider = element;
        this.#show();
      },
    };
    return h(
      "form",
      { ...this.#form.props, key: "form" },
      h("div", stage, this.#picture),
      h("p", { class: "note", id: "crop-hint" }, hint),
      h("div", { class: "field" }, h("label", { for: "crop-zoom" }, zoom), h("input", slider)),
      this.#form.error(),
      this.#form.submitButton(save),
    );
  }

  /** @param {HTMLElement} frame */
  #begin(frame) {
    this.#frame = frame;
    const wheel = (/** @type {WheelEvent} */ event) => {
      event.preventDefault();
      this.#zoom(this.#crop.zoom * (event.deltaY < 0 ? FACTOR : 1 / FACTOR));
    };
    frame.addEventListener("wheel", wheel, { passive: false });
  }

  #show() {
    const { width, left, top } = this.#crop.place;
    const { style } = this.#picture;
    for (const [name, value] of Object.entries({ width, left, top })) style.setProperty(name, `${value}%`);
    if (this.#slider) this.#slider.value = String(this.#crop.zoom);
  }

  /** @param {number} zoom */
  #zoom(zoom) {
    this.#crop.setZoom(zoom);
    this.#show();
  }

  /** Moves the picture under the frame. @param {number} x by these parts of the frame @param {number} y */
  #move(x, y) {
    this.#crop.move(-x, -y);
    this.#show();
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    const moves = /** @type {Record<string, [number, number]>} */ ({
      ...{ ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] },
    });
    const factors = /** @type {Record<string, number>} */ ({ "+": FACTOR, "=": FACTOR, "-": 1 / FACTOR });
    const [move, factor] = [moves[event.key], factors[event.key]];
    if (move) this.#move(...move);
    else if (factor) this.#zoom(this.#crop.zoom * factor);
    else return;
    event.preventDefault();
  }

  /** @param {PointerEvent} event */
  #down(event) {
    this.#frame?.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, event);
  }

  /** One finger moves the picture, two change its size. @param {PointerEvent} event */
  #moved(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before || !this.#frame) return;
    this.#pointers.set(event.pointerId, event);
    const [x, y] = [event.clientX - before.clientX, event.clientY - before.clientY];
    const other = [...this.#pointers.values()].find(({ pointerId }) => pointerId !== event.pointerId);
    const part = (other ? 0.5 : 1) / this.#frame.clientWidth;
    if (other) this.#zoom((this.#crop.zoom * distance(event, other)) / Math.max(distance(before, other), 1));
    this.#move(x * part, y * part);
  }

  /** @returns {Promise<Blob>} */
  #square() {
    const { left, top, edge } = this.#crop.square;
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = Math.min(MOST_EDGE, Math.max(Math.round(edge), 1));
    canvas.getContext("2d")?.drawImage(this.#picture, left, top, edge, edge, 0, 0, canvas.width, canvas.width);
    return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error())), "image/png"));
  }
}

/** @param {PointerEvent} one @param {PointerEvent} other */
const distance = (one, other) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
