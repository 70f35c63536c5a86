// The right pane: one chat, with its other member or the group, its messages and the composer.

import { isTouchScreen } from "../focus.js";
import { userName } from "../format.js";
import { isFormer, may } from "../groups.js";
import { isGroup } from "../ids.js";
import { LISTED_KINDS } from "../kinds/listed.js";
import { mayBeUnread } from "../kinds/marked.js";
import { fileTexts } from "../languages/files.js";
import { texts } from "../languages/language.js";
import { h, memo } from "../view.js";
import { GroupMarks } from "../stores/group-marks.js";
import { chatAvatar } from "./avatar.js";
import { iconButton } from "./buttons.js";
import { chatChoices } from "./chat-choices.js";
import { Composer } from "./composer.js";
import { emptyState } from "./empty.js";
import { openFiles } from "./files-later.js";
import { openListed, pinBanner } from "./listed.js";
import { MenuButton } from "./menu.js";
import { MessageList } from "./message-list.js";
import { loadPeopleNotices, openDialog, openGroup, openProfile } from "./open-dialog.js";
import { seenText } from "./seen-text.js";
import { typingText } from "./typing-text.js";

/** @import {App} from "./app-shell.js" */
/** @import {MessageActions} from "./message-menu.js" */
/** @import {Message} from "../types.js" */

/** The authors of a group that are watched, at most: each costs the server as much as a person in the list of chats. */
const MAX_AUTHORS = 100;

export class ChatView {
  #app;
  #chat_id;
  /** @type {HTMLElement | undefined} */
  #back;
  #menu;
  #messages;
  #composer;
  /** Of a direct chat, once its module is loaded. @type {import("./people-notice.js").PeopleNotes | null} */
  #notes = null;
  /** The other member, or the authors in a group: the server reports when their profiles change. @type {Set<string>} */
  #watched = new Set();
  #marks;
  #isStopped = false;

  /** @param {App} app @param {string} chat_id @param {string} message_id the message at which to open; or empty */
  constructor(app, chat_id, message_id) {
    this.#app = app;
    this.#chat_id = chat_id;
    this.#menu = new MenuButton(texts.chat.options, app.root.invalidate);
    this.#messages = new MessageList(app, chat_id, message_id, this.#actions);
    this.#composer = new Composer(app, chat_id, () => this.#messages.toBottom());
    const other = app.chats.otherOf(chat_id);
    if (other) void this.#loadNotes(other);
    this.#marks = isGroup(chat_id) ? new GroupMarks(app, chat_id) : null;
  }

  stop() {
    this.#app.chats.presence.watch("chat", []);
    this.#messages.stop();
    this.#composer.stop();
    this.#notes?.stop();
    this.#marks?.stop();
    this.#isStopped = true;
  }

  /** Scrolls to a message. @param {string} message_id */
  goTo(message_id) {
    void this.#messages.goTo(message_id);
  }

  /** @type {MessageActions} */
  #actions = {
    reply: (message) => this.#composer.reply(message),
    edit: (message) => this.#composer.edit(message),
    goTo: (message_id) => this.goTo(message_id),
    canWrite: () => !this.#closed(),
    isBlocked: () => this.#notes?.isBlocked === true,
  };

  /** Whether the newest message is in view. */
  get isAtEnd() {
    return this.#messages.isAtEnd;
  }

  /** A message of another user arrived. @param {Message} message */
  arrived(message) {
    const { chats } = this.#app;
    if (message.chat_id !== this.#chat_id) return;
    if (mayBeUnread(message, chats.of(this.#chat_id), chats.me.user_id)) this.#messages.arrived();
  }

  /** Marks a message that the next rendering shows as read. */
  readArrived() {
    this.#messages.readArrived();
  }

  /**
   * Moves the focus to the text field; on a touch screen to the heading, because a keyboard would cover the chat.
   */
  focusStart() {
    if (isTouchScreen()) this.#back?.focus();
    else this.#composer.focus();
  }

  /** Moves the focus to the messages. */
  focusMessages() {
    this.#messages.focus();
  }

  view() {
    const { chats } = this.#app;
    this.#watch();
    const isMissing = chats.isMissing(this.#chat_id);
    const name = chats.titleOf(this.#chat_id);
    const content = isMissing
      ? memo("missing", [], () =>
          emptyState(texts.chat.missing, texts.chat.missingHint),
        )
      : [this.#pinned(), this.#messages.view(), this.#composerOrNote(name)];
    const back = iconButton(texts.chat.back, "back", () => this.#app.close(), {
      class: "icon-button back",
      ref: (/** @type {HTMLElement} */ element) => void (this.#back = element),
    });
    const goToDate = { label: texts.chat.goToDate, choose: () => this.#chooseDate() };
    const lists = LISTED_KINDS.map((kind) => ({
      label: texts.listed[kind].title,
      choose: () => openListed(this.#app, this.#chat_id, kind, this.#actions),
    }));
    const files = { label: fileTexts.list.title, choose: () => openFiles(this.#app, this.#chat_id, this.#actions.goTo) };
    const choices = [goToDate, files, ...lists, ...chatChoices(this.#app, this.#chat_id)];
    return h(
      "rookery-chat",
      { class: "chat", key: this.#chat_id, ...this.#composer.drops },
      h(
        "div",
        { class: "bar" },
        back,
        !isMissing && [h("h1", { class: "unseen" }, this.#heading(name)), this.#who(), this.#menu.view(choices)],
      ),
      content,
    );
  }

  /** Watches those whose names are shown, and reads their profiles, which may have changed before. */
  #watch() {
    const { chats } = this.#app;
    const newest = chats.conversations.known(this.#chat_id).slice(-2 * MAX_AUTHORS).reverse();
    const shown = isGroup(this.#chat_id) ? newest.map(({ sender_id }) => sender_id) : [chats.otherOf(this.#chat_id)];
    const known = this.#watched.size;
    for (const user_id of shown) {
      const isNew = user_id && user_id !== chats.me.user_id && !this.#watched.has(user_id);
      if (!isNew || this.#watched.size === MAX_AUTHORS) continue;
      this.#watched.add(user_id);
      chats.profiles.refresh(user_id);
    }
    if (this.#watched.size > known) chats.presence.watch("chat", [...this.#watched]);
  }

  /** @param {string} name */
  #heading(name) {
    if (!name) return texts.chat.loading;
    return isGroup(this.#chat_id) ? texts.chat.group(name) : texts.chat.with(name);
  }

  /** The composer, below an invitation to connect, or the reason why there is none. @param {string} name */
  #composerOrNote(name) {
    const closed = this.#closed();
    if (!closed) return [this.#notes?.invitation(), this.#composer.view(name)];
    this.#composer.hide();
    return closed;
  }

  /** The reason why the user can't write; null if they can. */
  #closed() {
    const { chats } = this.#app;
    const chat = chats.of(this.#chat_id);
    if (this.#notes?.isBlocked) return this.#notes.blocked();
    if (isFormer(chat)) return note(texts.chat.left);
    if (chats.isClosed(this.#chat_id)) return note(texts.chat.closed);
    return chat.group && !may(chat, "POST") ? note(texts.chat.readOnly) : null;
  }

  /** @param {string} user_id of the other member */
  async #loadNotes(user_id) {
    try {
      const { PeopleNotes } = await loadPeopleNotices();
      if (!this.#isStopped) this.#notes = new PeopleNotes(this.#app, user_id);
      this.#app.root.invalidate();
    } catch {
      // The server is away: what the user writes is refused.
    }
  }

  #pinned() {
    return pinBanner(this.#app, this.#chat_id, this.#actions);
  }

  #chooseDate() {
    const go = (/** @type {Date} */ day) => void this.#messages.goToTime(day.getTime());
    void openDialog(this.#app, () => import("./date-dialog.js"), ({ DateDialog }) => new DateDialog(go));
  }

  /** The other member or the group, with the button that opens the profile. */
  #who() {
    const { chats } = this.#app;
    const chat_id = this.#chat_id;
    const name = chats.titleOf(chat_id);
    const typing = typingText(chats, chat_id);
    const detail = this.#detail();
    const isOnline = chats.presence.isOnline(chats.otherOf(chat_id));
    return memo("who", [chats.partner(chat_id), chats.pictureOf(chat_id), name, typing, detail, isOnline], () => {
      const content = [
        chatAvatar(chats, chat_id),
        h(
          "span",
          {},
          h("strong", { dir: "auto" }, name || "\u00a0"),
          h("small", { class: typing && "typing" }, h("bdi", { "aria-live": "polite" }, typing), !typing && h("bdi", {}, detail || "\u00a0")),
        ),
      ];
      const [title, onclick] = isGroup(chat_id)
        ? [texts.group.info, () => openGroup(this.#app, chat_id)]
        : [texts.chat.profile, () => openProfile(this.#app, chats.otherOf(chat_id))];
      return h("button", { class: "who", type: "button", title, onclick }, content);
    });
  }

  /** The line below the name: when the other member is online, else the user name; or the number of members. */
  #detail() {
    const { chats } = this.#app;
    const profile = chats.partner(this.#chat_id);
    const chat = chats.of(this.#chat_id);
    const { group } = chat;
    const seen = seenText(chats.presence.of(chats.otherOf(this.#chat_id)), chats.clock.now_ms());
    if (profile && !profile.deleted) return seen || userName(profile);
    return group && !isFormer(chat) ? texts.chat.members(group.member_count) : "";
  }
}

/** A note in place of the composer. @param {string} text */
const note = (text) => h("p", { class: "note closed", key: "closed" }, text);
