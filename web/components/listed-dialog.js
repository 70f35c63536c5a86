// The list of a chat's messages with a listed kind, such as a pin, from where one goes to a message or removes the kind.
// Loaded when it is first opened.

import { displayName, exactTime, shortTime } from "../format.js";
import { may } from "../groups.js";
import { dialogTexts } from "../languages/dialogs.js";
import { texts } from "../languages/language.js";
import { shownPlain } from "../messages.js";
import { h } from "../view.js";
import { textButton } from "./buttons.js";
import { emptyState, failure } from "./empty.js";
import { listedIn, signText } from "./listed.js";
import { Modal } from "./modal.js";

/** @import {App} from "./app-shell.js" */
/** @import {ListedActions} from "./listed.js" */
/** @import {ListedKind} from "../kinds/listed.js" */
/** @import {Message} from "../types.js" */

/** Shown characters of a message: more than fit in its lines. */
const SHOWN_LENGTH = 400;

export class ListedDialog extends Modal {
  #app;
  #chat_id;
  #kind;
  #actions;

  /** @param {App} app @param {string} chat_id @param {ListedKind} kind @param {ListedActions} actions */
  constructor(app, chat_id, kind, actions) {
    super(texts.listed[kind].title, () => this.#content());
    this.#app = app;
    this.#chat_id = chat_id;
    this.#kind = kind;
    this.#actions = actions;
    this.follow(app.chats, app.sending);
    void this.#list.load(chat_id);
  }

  get #list() {
    return this.#app.chats.listed[this.#kind];
  }

  #content() {
    const { notLoaded, none, noneHint } = dialogTexts.listed[this.#kind];
    const { phase, hasOlder } = this.#list.of(this.#chat_id);
    const load = () => void this.#list.loadOlder(this.#chat_id);
    const items = listedIn(this.#app, this.#chat_id, this.#kind).map((message) => this.#item(message));
    return h(
      "div",
      { class: "listed", tabindex: -1 }, // has the focus after the removal of an item
      h("ul", { class: "list", role: "list" }, items),
      phase === "loading" && h("p", { class: "note", role: "status" }, texts.loading),
      phase === "failed" && failure(notLoaded, load),
      phase === "ready" && hasOlder && textButton("text-button wide", load, texts.message.showMore),
      phase === "ready" && !hasOlder && !items.length && emptyState(none, noneHint),
    );
  }

  /** @param {Message} message */
  #item(message) {
    const { chats, sending } = this.#app;
    const { message_id, sender_id, at_ms } = message;
    const profile = chats.profiles.get(sender_id);
    const isOwn = sender_id === chats.me.user_id;
    const author = isOwn ? texts.message.you : profile ? displayName(profile) : texts.message.someone;
    const go = () => {
      this.close();
      this.#actions.goTo(message_id);
    };
    return h(
      "li",
      { key: message_id, class: "listed-item" },
      h(
        "button",
        { class: "listed-message", type: "button", onclick: go },
        h("strong", { dir: "auto" }, author),
        h("time", { datetime: new Date(at_ms).toISOString(), title: exactTime(at_ms) }, shortTime(at_ms, Date.now())),
        h("span", { class: "words", dir: "auto" }, shownPlain(message, chats.profiles).slice(0, SHOWN_LENGTH)),
        h("small", { class: "soft" }, signText(this.#app, message, this.#kind)),
      ),
      (this.#kind !== "pinned" || (may(chats.of(this.#chat_id), "PIN") && !this.#actions.isBlocked())) &&
        textButton("text-button", () => sending.set(message, this.#kind, false), texts.listed[this.#kind].remove),
    );
  }
}
