// Forwards a message to several chats: recent ones, or chats with people that the search finds. Loaded when it is first
// opened.

import { nameList } from "../format.js";
import { isTouchScreen, moveFocus } from "../focus.js";
import { icon } from "../icons.js";
import { isDeleted } from "../kinds/deleted.js";
import { mentionsOf, textOf } from "../kinds/edited.js";
import { isHidden } from "../kinds/hidden.js";
import { dialogTexts } from "../languages/dialogs.js";
import { texts } from "../languages/language.js";
import { h } from "../view.js";
import { Modal } from "./modal.js";
import { PeopleSearch } from "./people-search.js";
import { searchBox } from "./search-box.js";

/** @import {App} from "./app-shell.js" */
/** @import {Message} from "../types.js" */

/** Chats to which a message is forwarded at once. */
export const MAX_CHOSEN = 5;
/** Shown chats; the search finds all others. */
const MAX_RECENT = 20;

export class ForwardDialog extends Modal {
  #app;
  #message;
  #search;
  /** The chosen chats, in order of choice. @type {Set<string>} */
  #chosen = new Set();
  /** @type {HTMLInputElement | undefined} */
  #input;

  /** @param {App} app @param {Message} message */
  constructor(app, message) {
    super(dialogTexts.forwarding.title, () => this.#content());
    this.#app = app;
    this.#message = message;
    const { api, chats } = app;
    const isChosen = (/** @type {string} */ chat_id) => this.#chosen.has(chat_id);
    this.#search = new PeopleSearch({ api, chats, root: this.root }, (chat_id) => this.#toggle(chat_id), isChosen);
    this.element.classList.add("forwarding");
    for (const store of [chats, app.sending])
      this.element.addEventListener("close", store.subscribe(this.root.invalidate));
  }

  /** The message as it is now: it may be edited or deleted while the dialog is open. */
  get #current() {
    const { chats, sending } = this.#app;
    const { chat_id, message_id } = this.#message;
    return sending.shown(chats.conversations.find(chat_id, message_id) ?? chats.conversations.current(this.#message));
  }

  #content() {
    const isGone = !isForwardable(this.#current);
    const search = {
      autofocus: !isTouchScreen(),
      ref: (/** @type {HTMLInputElement} */ element) => void (this.#input = element),
      oninput: () => this.#search.find(this.#input?.value.trim() ?? ""),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#keyPressed(event),
    };
    const isSendable = !isGone && this.#chosen.size > 0;
    return [
      searchBox(texts.chats.search, search),
      this.#chips(),
      h("p", { class: "note", role: "status" }, this.#chosen.size === MAX_CHOSEN && dialogTexts.forwarding.most(MAX_CHOSEN)),
      h("div", { class: "targets", key: "targets" }, this.#search.view(), !this.#search.text && this.#recent()),
      h("p", { class: "note error", role: "alert", key: "gone" }, isGone && dialogTexts.forwarding.deleted),
      h(
        "button",
        { class: "primary", type: "button", key: "send", disabled: !isSendable, onclick: () => void this.#send() },
        dialogTexts.forwarding.send,
      ),
    ];
  }

  /** The chosen chats; pressing one takes it back. */
  #chips() {
    const { chats } = this.#app;
    const chip = (/** @type {string} */ chat_id) => {
      const name = chats.titleOf(chat_id);
      const label = dialogTexts.forwarding.remove(name);
      const props = { class: "chip", type: "button", key: chat_id, "aria-label": label, title: label };
      const remove = () => {
        this.#toggle(chat_id);
        this.#input?.focus(); // the chip that has the focus goes away
      };
      return h("button", { ...props, onclick: remove }, h("bdi", {}, name), icon("close"));
    };
    const props = { class: "chips", role: "group", "aria-label": dialogTexts.forwarding.chosen, key: "chips" };
    return h("div", { ...props, hidden: !this.#chosen.size }, [...this.#chosen].map(chip));
  }

  #recent() {
    const { chats } = this.#app;
    const recent = this.#search.usable(chats.all.slice(0, MAX_RECENT));
    return h(
      "div",
      {
        ...{ class: "scroller", key: "recent" },
        onkeydown: (/** @type {KeyboardEvent} */ event) => moveFocus(event, this.#rows()),
      },
      h("h3", { class: "section" }, dialogTexts.forwarding.recent),
      this.#search.rows(recent),
    );
  }

  /** @param {string} chat_id */
  #toggle(chat_id) {
    if (!this.#chosen.delete(chat_id) && this.#chosen.size < MAX_CHOSEN) this.#chosen.add(chat_id);
    this.root.invalidate();
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    if (event.key === "ArrowDown") {
      event.preventDefault();
      this.#rows()[0]?.focus();
    } else if (event.key === "Enter" && !event.isComposing && this.#search.text) {
      event.preventDefault();
      this.#search.chooseFirst();
    }
  }

  /** The rows of the shown list. */
  #rows() {
    const rows = this.element.querySelectorAll(".scroller:not([hidden]) button.row");
    return /** @type {HTMLElement[]} */ ([...rows]);
  }

  async #send() {
    const { chats, sending } = this.#app;
    const message = this.#current;
    if (!isForwardable(message) || !this.#chosen.size) return this.root.invalidate();
    const chosen = [...this.#chosen];
    this.close();
    for (const chat_id of chosen) {
      const mentioned = mentionsOf(message);
      if (mentioned.length) await chats.loadMembers(chat_id);
      const members = chats.memberIds(chat_id);
      const mentions = mentioned.filter(({ user_id = "" }) => members.includes(user_id));
      await sending.send(chat_id, textOf(message), { mentions, forwarded: true });
    }
    this.#app.say(dialogTexts.forwarding.forwardedTo(nameList(chosen.map((chat_id) => chats.titleOf(chat_id)))));
  }
}

/** Whether a message has a text to forward. @param {Message} message as shown */
export const isForwardable = (message) => !isDeleted(message) && !isHidden(message) && textOf(message) !== "";
