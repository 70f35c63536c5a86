// The pictures, videos and other files of a chat, and its links, the newest first. Loaded when it is first opened.

import { kindOf } from "../files/kinds.js";
import { ChatFiles, itemsOf } from "../files/media.js";
import { linksIn } from "../files/text-links.js";
import { displayName, exactTime, shortTime, withoutDirectionControls } from "../format.js";
import { moveFocus } from "../focus.js";
import { previewOf } from "../kinds/previewed.js";
import { fileTexts } from "../languages/files.js";
import { texts } from "../languages/language.js";
import { h } from "../view.js";
import { textButton } from "./buttons.js";
import { emptyState, failure } from "./empty.js";
import { fileButton, fileIcon } from "./file-icons.js";
import { download, fileWords, picture } from "./message-files.js";
import { Modal } from "./modal.js";
import { Viewer } from "./viewer.js";

/** @import {App} from "./app-shell.js" */
/** @import {FileClass, Item} from "../files/media.js" */
/** @import {Message} from "../types.js" */

/** @type {FileClass[]} */
const CLASSES = ["media", "other", "links"];
/** The longer edge of a picture in the grid, in pixels at the usual text size. */
const EDGE = 160;

export class FilesDialog extends Modal {
  #app;
  #goTo;
  /** @type {FileClass} */
  #shown = "media";
  #lists;

  /** @param {App} app @param {string} chat_id @param {(message_id: string) => void} goTo shows a message of the chat */
  constructor(app, chat_id, goTo) {
    super(fileTexts.list.title, () => this.#content());
    this.#app = app;
    this.#goTo = (/** @type {string} */ message_id) => {
      this.close();
      goTo(message_id);
    };
    const listOf = (/** @type {FileClass} */ name) => new ChatFiles(app, chat_id, name);
    this.#lists = { media: listOf("media"), other: listOf("other"), links: listOf("links") };
    this.element.classList.add("chat-files");
    this.follow(app.chats, app.sending, ...Object.values(this.#lists));
    void this.#lists.media.loadOlder();
  }

  #content() {
    const list = this.#lists[this.#shown];
    const { messages, phase, hasOlder } = list;
    const load = () => void list.loadOlder();
    const content = { media: this.#grid, other: this.#files, links: this.#links }[this.#shown].call(this, messages);
    const isEmpty = !messages.length && !hasOlder;
    return [
      this.#tabs(),
      h(
        "div",
        { key: this.#shown, role: "tabpanel", id: "chat-files", "aria-label": fileTexts.list[this.#shown], tabindex: -1 },
        content,
        phase === "loading" && h("p", { class: "note", role: "status" }, texts.loading),
        phase === "failed" && failure(fileTexts.list.notLoaded, load),
        phase === "idle" && hasOlder && textButton("text-button wide", load, texts.message.showMore),
        phase === "idle" && isEmpty && emptyState(fileTexts.list.none, fileTexts.list.noneHint),
      ),
    ];
  }

  #tabs() {
    const tabs = CLASSES.map((name) => {
      const isShown = name === this.#shown;
      const props = { role: "tab", type: "button", "aria-selected": String(isShown), "aria-controls": "chat-files", tabindex: isShown ? 0 : -1 };
      return h("button", { ...props, key: name, onclick: () => this.#show(name), onfocus: () => this.#show(name) }, fileTexts.list[name]);
    });
    const onkeydown = (/** @type {KeyboardEvent} */ event) => {
      const buttons = /** @type {HTMLElement} */ (event.currentTarget).querySelectorAll("button");
      moveFocus(event, [...buttons], buttons.length);
    };
    return h("div", { key: "tabs", class: "tabs", role: "tablist", "aria-label": fileTexts.list.title, onkeydown }, tabs);
  }

  /** @param {FileClass} name */
  #show(name) {
    if (name === this.#shown) return;
    this.#shown = name;
    if (!this.#lists[name].messages.length) void this.#lists[name].loadOlder();
    this.root.invalidate();
  }

  /** @param {readonly Message[]} messages */
  #grid(messages) {
    const items = messages.flatMap((message) => itemsOf([message]).reverse());
    return h("ul", { class: "file-grid", role: "list" }, items.map((item) => this.#tile(item)));
  }

  /** @param {Item} item */
  #tile({ message, file }) {
    const name = withoutDirectionControls(file.name);
    const isVideo = kindOf(file) === "video";
    const label = isVideo ? fileTexts.player.video(name) : fileTexts.openPicture(name);
    const open = () => new Viewer(this.#app, message, file, this.#goTo, this.#lists.media).open();
    return h(
      "li",
      { key: `${message.message_id} ${file.file_id}` },
      h(
        "button",
        { class: "picture", type: "button", "aria-label": label, title: exactTime(message.at_ms), "aria-haspopup": "dialog", onclick: open },
        isVideo ? h("span", { class: "round" }, fileIcon("play")) : picture(this.#app, message, file, EDGE),
      ),
    );
  }

  /** @param {readonly Message[]} messages */
  #files(messages) {
    const rows = messages.flatMap((message) => {
      const files = message.files.filter((file) => !["picture", "video"].includes(kindOf(file)));
      return files.map((file) => {
        const save = fileTexts.downloadNamed(withoutDirectionControls(file.name));
        return h(
          "li",
          { key: `${message.message_id} ${file.file_id}`, class: "file-row" },
          fileWords(this.#app, message, file, this.#sent(message)),
          this.#showInChat(message),
          fileButton(save, "download", () => void download(this.#app, message, file)),
        );
      });
    });
    return h("ul", { class: "file-list", role: "list" }, rows);
  }

  /** @param {readonly Message[]} messages */
  #links(messages) {
    const rows = messages.flatMap((message) =>
      linksIn(message).map((url) => {
        const preview = previewOf(message);
        const title = preview?.url === url ? preview.title : "";
        const link = { class: "file-words", href: url, target: "_blank", rel: "noopener noreferrer" };
        const address = url.replace(/^https?:\/\//i, "");
        return h(
          "li",
          { key: `${message.message_id} ${url}`, class: "file-row" },
          h(
            "a",
            link,
            h("span", { class: "file-name", dir: title ? "auto" : "ltr" }, withoutDirectionControls(title || address)),
            title && h("small", { dir: "ltr" }, address),
            h("small", {}, this.#sent(message)),
          ),
          this.#showInChat(message),
        );
      }),
    );
    return h("ul", { class: "file-list", role: "list" }, rows);
  }

  /** Who sent a message, and when. @param {Message} message */
  #sent(message) {
    const { chats } = this.#app;
    const profile = chats.profiles.get(message.sender_id);
    const isOwn = message.sender_id === chats.me.user_id;
    const author = isOwn ? texts.message.you : profile ? displayName(profile) : texts.message.someone;
    return fileTexts.viewer.sentBy(author, shortTime(message.at_ms, Date.now()));
  }

  /** @param {Message} message */
  #showInChat({ message_id }) {
    return fileButton(fileTexts.viewer.showInChat, "showInChat", () => this.#goTo(message_id));
  }
}
