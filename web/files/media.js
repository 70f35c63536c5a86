// The pictures and videos of a chat in their order, through which the viewer goes: those of the loaded messages, and
// older ones page by page.

import { isDeleted } from "../kinds/deleted.js";
import { isHidden } from "../kinds/hidden.js";
import { fromHistory } from "../messages.js";
import { Store } from "../stores/store.js";
import { isMedia } from "./kinds.js";

/** @import {App} from "../components/app-shell.js" */
/** @import {Message, MessageFile} from "../types.js" */
/** @import {ListChatFilesResponse} from "../wire.js" */

/** Messages of a page. */
const PAGE = 50;
/** Messages in memory of one list, besides one page: older ones are not loaded. */
const MAX_MESSAGES = 1_000;

/** Pictures and videos, all other files, or links in texts. @typedef {"media" | "other" | "links"} FileClass */
/** @typedef {{message: Message, file: MessageFile}} Item */

/** The messages of a chat with files of a class, or with links, before a message. */
export class ChatFiles extends Store {
  /** @type {"idle" | "loading" | "failed"} of the next page */
  phase = "idle";
  hasOlder = true;
  /** The newest first. @type {Message[]} */
  #messages = [];
  #app;
  #chat_id;
  #class;
  #before_id;

  /**
   * @param {Pick<App, "api" | "chats" | "sending">} app
   * @param {string} chat_id
   * @param {FileClass} fileClass
   * @param {string} [before_id] empty for the newest
   */
  constructor(app, chat_id, fileClass, before_id = "") {
    super();
    this.#app = app;
    this.#chat_id = chat_id;
    this.#class = fileClass;
    this.#before_id = before_id;
  }

  /** The loaded messages as shown, the newest first: without those that were deleted meanwhile. */
  get messages() {
    const { chats, sending } = this.#app;
    return this.#messages.flatMap((message) => {
      const { chat_id, message_id } = message;
      const shown = sending.shown(chats.conversations.find(chat_id, message_id) ?? chats.conversations.current(message));
      return isDeleted(shown) || isHidden(shown) ? [] : [shown];
    });
  }

  /** Loads the next page, if there is one. */
  async loadOlder() {
    if (this.phase === "loading" || !this.hasOlder) return;
    this.phase = "loading";
    this.changed();
    const query = new URLSearchParams({ class: this.#class, limit: String(PAGE) });
    if (this.#before_id) query.set("before", this.#before_id);
    try {
      /** @type {ListChatFilesResponse} */
      const page = await this.#app.api.signedIn("GET", `/v1/chats/${encodeURIComponent(this.#chat_id)}/files?${query}`);
      const messages = (page.messages ?? []).map(fromHistory);
      this.#messages.push(...messages);
      this.#before_id = messages.at(-1)?.message_id ?? this.#before_id;
      this.hasOlder = (page.has_older ?? false) && this.#messages.length < MAX_MESSAGES;
      this.phase = "idle";
    } catch {
      this.phase = "failed";
    }
    this.changed();
  }
}

/** The pictures and videos of some messages, in order. @param {readonly Message[]} messages @returns {Item[]} */
export const itemsOf = (messages) =>
  messages.flatMap((message) => message.files.filter(isMedia).map((file) => ({ message, file })));

/** The pictures and videos around a message: those of loaded messages, and of older ones. */
export class MediaAround extends Store {
  #app;
  #message;
  #list;
  #older;

  /**
   * @param {Pick<App, "api" | "chats" | "sending">} app
   * @param {Message} message
   * @param {ChatFiles} [list] which has the message; else the open chat has it
   */
  constructor(app, message, list) {
    super();
    this.#app = app;
    this.#message = message;
    this.#list = list;
    const oldest = this.#loaded()[0]?.message_id ?? "";
    this.#older = list ?? new ChatFiles(app, message.chat_id, "media", oldest);
    this.#older.subscribe(() => this.changed());
  }

  /** In order. @returns {Item[]} */
  get items() {
    const older = this.#older.messages.reverse();
    return itemsOf(this.#list ? older : [...older, ...this.#loaded()]);
  }

  get hasOlder() {
    return this.#older.hasOlder && this.#older.phase !== "failed";
  }

  /** Loads the page before the first item. */
  loadOlder() {
    return this.#older.loadOlder();
  }

  /** The messages in memory without a hole around the message, in order. */
  #loaded() {
    const { chats, sending } = this.#app;
    const { chat_id, key } = this.#message;
    const { messages } = chats.conversations.of(chat_id);
    const all = [...messages, ...sending.waiting(chat_id)];
    const around = all.some((one) => one.key === key) ? all : [this.#message];
    return around.map((one) => sending.shown(one)).filter((one) => !isDeleted(one) && !isHidden(one));
  }
}
