// The dialog that shows the text of a file, up to a bound. Loaded when it is first opened.

import { sizeText } from "../files/kinds.js";
import { withoutDirectionControls } from "../format.js";
import { isDeleted } from "../kinds/deleted.js";
import { fileTexts } from "../languages/files.js";
import { Loaded } from "../stores/loaded.js";
import { h } from "../view.js";
import { textButton } from "./buttons.js";
import { loadedView } from "./loaded.js";
import { download } from "./message-files.js";
import { Modal } from "./modal.js";
import { readBeginning } from "./text-file.js";

/** @import {App} from "./app-shell.js" */
/** @import {Message, MessageFile} from "../types.js" */

/** Bytes of a file that are shown, at most: 64 kB. */
const MOST_BYTES = 64_000;

export class TextViewer extends Modal {
  #app;
  #message;
  #file;
  /** Empty if the user may not read the file any more. @type {Loaded<string>} */
  #text;

  /** @param {App} app @param {Message} message @param {MessageFile} file */
  constructor(app, message, file) {
    super(withoutDirectionControls(file.name), () => this.#content());
    this.#app = app;
    this.#message = message;
    this.#file = file;
    this.#text = new Loaded(() => this.#read());
    this.element.classList.add("text-viewer");
    this.follow(this.#text, app.chats, app.sending);
    void this.#text.load();
  }

  /** Bytes that are no text are shown as replacement characters: only the head of the file was checked. */
  async #read() {
    const bytes = await readBeginning(this.#app, this.#message, this.#file, MOST_BYTES);
    return bytes ? new TextDecoder().decode(bytes, { stream: this.#isCut }) : "";
  }

  get #isCut() {
    return Number(this.#file.size) > MOST_BYTES;
  }

  #content() {
    const { chats, sending } = this.#app;
    const { chat_id, message_id } = this.#message;
    const now = chats.conversations.find(chat_id, message_id) ?? chats.conversations.current(this.#message);
    if (isDeleted(sending.shown(now))) queueMicrotask(() => this.close());
    const save = () => void download(this.#app, this.#message, this.#file);
    return [
      loadedView(this.#text, (text) => this.#lines(text)),
      this.#isCut && h("p", { class: "note", key: "cut" }, fileTexts.text.cut(sizeText(MOST_BYTES))),
      this.#file.file_id && h("div", { key: "save" }, textButton("primary", save, fileTexts.download)),
    ];
  }

  /** @param {string} text */
  #lines(text) {
    if (!text) return h("p", { class: "note", role: "status", key: "gone" }, fileTexts.gone);
    const label = withoutDirectionControls(this.#file.name);
    return h("pre", { class: "text-lines", key: "lines", dir: "auto", role: "region", "aria-label": label, tabindex: 0 }, text);
  }
}
