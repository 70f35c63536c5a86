// The files of a reported message. A picture is blurred until the admin asks to see it: until then, the page has its
// placeholder only, of some 25 bytes. Each opening asks the server for a link, which records it in the audit log.

import { explain, Problem } from "../api.js";
import { kindOf, sizeText } from "../files/kinds.js";
import { saveAs } from "../files/save-as.js";
import { draw } from "../files/thumbhash.js";
import { withoutDirectionControls } from "../format.js";
import { h } from "../view.js";
import { texts } from "./languages/language.js";

/** @import {FileInfo} from "../wire.js" */
/** @import {Frame} from "./section.js" */
/** @import {Report, ReportedMessage} from "./types.js" */

/** Where a file is. @typedef {{report_id: string, message_id: string, file: FileInfo}} Place */
/** The shown picture, empty while it is blurred, and the reason of a failure. @typedef {{url: string, problem: string}} State */

export class ReportedFiles {
  #frame;
  /** By report, message and file. @type {Map<string, State>} */
  #states = new Map();

  /** @param {Pick<Frame, "api" | "root">} frame */
  constructor(frame) {
    this.#frame = frame;
  }

  /**
   * The files of a message; nothing if it has none. The files of a closed report can't be opened.
   * @param {Report} report
   * @param {ReportedMessage} reported
   */
  view({ report_id, resolution }, { message: { message_id, files = [] } }) {
    if (files.length === 0) return null;
    const isOpen = resolution === null;
    const items = files.map((file) =>
      h(
        "li",
        { key: file.file_id },
        isOpen ? this.#openable({ report_id, message_id, file }) : h("p", { class: "facts" }, words(file)),
      ),
    );
    return [
      h("ul", { class: "reported-files", "aria-label": texts.reports.files }, items),
      isOpen && h("p", { class: "soft facts" }, texts.reports.filesNote),
    ];
  }

  /** @param {Place} place */
  #openable(place) {
    const { file } = place;
    const { url, problem } = this.#stateOf(place);
    const name = withoutDirectionControls(file.name);
    const isPicture = kindOf(file) === "picture";
    return [
      isPicture && (url ? this.#picture(place, url, name) : blurred(file)),
      h("p", { class: "facts", key: "words" }, words(file)),
      h(
        "div",
        { class: "buttons", key: "buttons" },
        isPicture &&
          (url
            ? button("picture", texts.reports.hide, texts.reports.hideNamed(name), () => this.#set(place, {}))
            : button("picture", texts.reports.show, texts.reports.showNamed(name), () => void this.#show(place))),
        button("download", texts.reports.download, texts.reports.downloadNamed(name), () => void this.#download(place)),
      ),
      h("p", { class: "note error", role: "alert", key: "problem" }, problem),
    ];
  }

  /** @param {Place} place @param {string} url @param {string} name */
  #picture(place, url, name) {
    const { width, height } = place.file;
    const onerror = () => this.#set(place, { problem: texts.reports.notShown });
    return h("img", { key: "picture", class: "seen", src: url, alt: name, width, height, onerror });
  }

  /** Thumbnails do not move: a GIF is shown itself. @param {Place} place */
  async #show(place) {
    const { media_type, thumbnails = [] } = place.file;
    const rendition = media_type === "image/gif" ? "" : String(thumbnails.at(-1) ?? "");
    const url = await this.#open(place, { rendition });
    if (url) this.#set(place, { url });
  }

  /** Saves the file, by the browser. @param {Place} place */
  async #download(place) {
    const url = await this.#open(place, { download: true });
    if (url) saveAs(url, place.file.name);
  }

  /**
   * The address of a file; empty after a failure, which is shown.
   * @param {Place} place
   * @param {{rendition?: string, download?: boolean}} how
   */
  async #open(place, how) {
    const { report_id, message_id, file } = place;
    try {
      const { url } = await this.#frame.api.openReportedFile(report_id, { message_id, file_id: file.file_id, ...how });
      this.#set(place, { ...this.#stateOf(place), problem: "" });
      return url;
    } catch (fault) {
      this.#set(place, { problem: isGone(fault) ? texts.reports.gone : explain(fault) });
      return "";
    }
  }

  /** @param {Place} place */
  #stateOf = (place) => this.#states.get(keyOf(place)) ?? { url: "", problem: "" };

  /** @param {Place} place @param {Partial<State>} state */
  #set(place, { url = "", problem = "" }) {
    this.#states.set(keyOf(place), { url, problem });
    this.#frame.root.invalidate();
  }
}

/** @param {Place} place */
const keyOf = ({ report_id, message_id, file }) => [report_id, message_id, file.file_id].join(" ");

/** Whether the message was deleted, and its files with it. @param {unknown} fault */
const isGone = (fault) => fault instanceof Problem && fault.code === "not_found" && fault.field === "file_id";

/** Name, type and size. @param {FileInfo} file */
const words = ({ name, media_type, size }) => [
  h("bdi", {}, withoutDirectionControls(name)),
  " · ",
  h("span", { class: "code" }, media_type),
  " · ",
  sizeText(Number(size)),
];

/** @param {string} key @param {string} text @param {string} label begins with the text @param {() => void} pressed */
const button = (key, text, label, pressed) =>
  h("button", { key, class: "quiet", type: "button", "aria-label": label, onclick: pressed }, text);

/** @param {FileInfo} file */
const blurred = (file) =>
  h("canvas", {
    ...{ key: "blurred", class: "seen", "aria-hidden": "true" },
    ref: (/** @type {HTMLCanvasElement} */ canvas) => draw(canvas, file),
  });
