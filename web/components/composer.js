// The composer: a text field that grows with its text, keeps it as a draft, and sends on Enter. It also edits messages;
// the draft comes back afterwards.

import { newestOf } from "../changes.js";
import { bodyOf } from "../drafts.js";
import { filesIn } from "../files/dropped.js";
import { isTouchScreen } from "../focus.js";
import { may } from "../groups.js";
import { icon } from "../icons.js";
import { inTime } from "../deadline.js";
import { isForInputMethod } from "../keys.js";
import { isDeleted } from "../kinds/deleted.js";
import { mentionsOf, textOf } from "../kinds/edited.js";
import { isHidden } from "../kinds/hidden.js";
import { fileTexts } from "../languages/files.js";
import { texts } from "../languages/language.js";
import { h } from "../view.js";
import { markerOf, mayReplace, MEMBERS_DEADLINE_MS, sends, textWith } from "../writing.js";
import { iconButton } from "./buttons.js";
import { insert } from "./insert.js";
import { fileButton } from "./file-icons.js";
import { pickEmoji } from "./pick-emoji.js";
import { quote, quotedIn } from "./quote.js";

/** @import {App} from "./app-shell.js" */
/** @import {Piece} from "../drafts.js" */
/** @import {Draft, Message} from "../types.js" */
/** @import {Mention, Text} from "../wire.js" */

const encoder = new TextEncoder();

export class Composer {
  #app;
  #chat_id;
  #sent;
  /** @type {HTMLTextAreaElement | undefined} */
  #field;
  /** Made when it is first needed. @type {import("./completion.js").Completion | null} */
  #completion = null;
  /** The message whose text is in the field; empty while that is the draft. */
  #edited;
  /** Whether the person wrote the draft in this tab; if not, it comes from another tab, or from before a reload. */
  #isOwn = false;
  #leaving;
  /** Made when files are first attached, or the draft has some. @type {import("./attachments.js").Attachments | null} */
  #attachments = null;
  /** While files are being attached: a message that is sent meanwhile waits for them. */
  #attaching = /** @type {Promise<boolean> | null} */ (null);
  /** @type {HTMLInputElement | undefined} */
  #picker;
  /** While a voice message is recorded. @type {import("./voice.js").VoiceMessage | null} */
  #voice = null;
  /** @type {HTMLElement | undefined} */
  #sendButton;
  #isStopped = false;

  /** @param {App} app @param {string} chat_id @param {() => void} sent */
  constructor(app, chat_id, sent) {
    this.#app = app;
    this.#chat_id = chat_id;
    this.#sent = sent;
    this.#leaving = app.sending.drafts.leaving(chat_id);
    this.#edited = this.#draft.editing?.message_id ?? "";
  }

  /** The listeners of the chat on which files can be dropped. */
  drops = {
    ondragover: (/** @type {DragEvent} */ event) => this.#draggedOver(event),
    ondrop: (/** @type {DragEvent} */ event) => this.#dropped(event),
  };

  stop() {
    this.#isStopped = true;
    this.#field = undefined; // the draft has its text, which the next composer may change
    this.#voice?.cancel();
  }

  /** The chat shows something else in its place: a recording would go on unseen. */
  hide() {
    this.#voice?.cancel();
  }

  focus() {
    this.#field?.focus();
  }

  /** Makes the draft a reply. @param {Message} message */
  reply({ message_id }) {
    this.#keep({ reply_to: message_id, editing: null });
    this.#show();
    this.focus();
  }

  /** Edits an own message instead of the draft. @param {Message} message as shown */
  edit(message) {
    this.#keep({ editing: { message_id: message.message_id, text: textOf(message) } });
    this.#show();
    this.focus();
  }

  /** @param {string} name of the recipient; empty while it is loading */
  view(name) {
    this.#endDeleted();
    if (!this.#isWriting) this.#show();
    this.#restore();
    const excess = this.#excess();
    const editing = this.#edited !== "";
    const label = name ? texts.composer.label(name) : texts.composer.placeholder;
    const action = editing ? texts.composer.save : texts.composer.send;
    const field = {
      ...{ rows: 1, placeholder: texts.composer.placeholder, dir: "auto", autocomplete: "off" },
      "aria-label": editing ? texts.composer.editLabel : label,
      "aria-describedby": "composer-about composer-note",
      ...this.#completion?.attributes,
      ref: (/** @type {HTMLTextAreaElement} */ element) => this.#begin(element),
      oninput: () => this.#written(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#keyPressed(event),
      onpaste: (/** @type {ClipboardEvent} */ event) => this.#pasted(event),
    };
    const submit = (/** @type {Event} */ event) => {
      event.preventDefault();
      void this.#submit();
    };
    const emoji = { "aria-haspopup": "dialog", "aria-expanded": "false", onclick: this.#pickEmoji };
    const isEmpty = this.#unsent().trim() === "" && !this.#hasFiles;
    const voice = this.#voice;
    // The style renders a hidden copy of the text behind the field, which makes the field as high as its text:
    // measuring the height would make the messages jump.
    return h(
      "rookery-composer",
      { key: "composer" },
      this.#about(),
      !editing && this.#attachments?.view(),
      h(
        "form",
        { class: "composer", onsubmit: submit, onkeydown: voice && this.#voiceKeyPressed },
        voice ? voice.view() : [
          this.#completion?.view(),
          !editing && this.#attachButton(),
          h("div", { class: "writing", key: "writing", "data-text": this.#text }, h("textarea", field)),
          iconButton(texts.emoji, "react", null, { ...emoji, key: "emoji" }),
        ],
        isEmpty && !editing && !voice && canRecord()
          ? fileButton(texts.files.voice, "microphone", () => void this.#record(), { class: "send", key: "record" })
          : h(
              "button",
              {
                ...{ class: "send", key: "send", type: "submit", disabled: !voice && (excess > 0 || isEmpty) },
                ...{ "aria-label": action, title: action },
                ref: (/** @type {HTMLElement} */ element) => void (this.#sendButton = element),
              },
              icon(editing ? "tick" : "send"),
            ),
      ),
      h(
        "p",
        { class: "note error", id: "composer-note", role: "alert" },
        excess > 0 ? texts.composer.tooLong(excess) : this.#attachments?.problem,
      ),
    );
  }

  /** The bar that shows which message is edited, or replied to. */
  #about() {
    const editing = this.#edited !== "";
    const message_id = this.#edited || this.#draft.reply_to;
    if (!message_id) return null;
    const quoted = quotedIn(this.#app, this.#chat_id, message_id);
    const { replyingTo, replyingToOwn, cancelEdit, cancelReply } = texts.composer;
    const reply = quoted.isOwn ? replyingToOwn : quoted.author && replyingTo(quoted.author);
    const heading = editing ? texts.composer.editing : reply;
    return h(
      "div",
      { class: "about-draft", key: "about" },
      h("div", { class: "quote", id: "composer-about", role: "status" }, quote(heading, quoted)),
      iconButton(editing ? cancelEdit : cancelReply, "close", () => this.#cancel()),
    );
  }

  #attachButton() {
    const picker = {
      ...{ type: "file", multiple: true, hidden: true },
      ref: (/** @type {HTMLInputElement} */ element) => void (this.#picker = element),
      onchange: () => this.#picked(),
    };
    const button = fileButton(fileTexts.sending.attach, "attach", null, { onclick: this.#pick });
    return h("div", { class: "attach", key: "attach" }, h("input", picker), button);
  }

  /** Whether a message without text can be sent, or saved. */
  get #hasFiles() {
    if (!this.#edited) return this.#app.sending.attached(this.#chat_id).length > 0;
    return Boolean(this.#app.chats.quotes.get(this.#chat_id, this.#edited)?.files.length);
  }

  get #draft() {
    return this.#app.sending.drafts.get(this.#chat_id);
  }

  /** The text in the field. */
  get #text() {
    const { text, editing } = this.#draft;
    return this.#field?.value ?? editing?.text ?? text;
  }

  /** The text of the draft, which is not in the field while a message is edited. */
  get #draftText() {
    return this.#edited ? this.#draft.text : (this.#field?.value ?? this.#draft.text);
  }

  /** @param {Partial<Draft>} change */
  #keep(change) {
    this.#app.sending.drafts.keep(this.#chat_id, change);
    this.#app.root.invalidate();
  }

  /** Whether the person writes a new message: an edit that the server refused does not take the field meanwhile. */
  get #isWriting() {
    return !this.#edited && this.#field === document.activeElement && this.#text !== "";
  }

  /** Shows the edited message, or the draft again, if the field shows the other. */
  #show() {
    const { text, editing } = this.#draft;
    const edited = editing?.message_id ?? "";
    if (!this.#field || edited === this.#edited) return;
    this.#edited = edited;
    this.#field.value = editing?.text ?? text;
    this.#loadMembers();
  }

  /**
   * Ends the edit of a message that was deleted. If the user deleted it, the text of the edit goes, too; else it becomes
   * the draft, unless there is one.
   */
  #endDeleted() {
    const { chats, sending } = this.#app;
    const message = this.#edited && chats.quotes.get(this.#chat_id, this.#edited);
    const deletion = message && newestOf(sending.shown(message).changes, "deleted");
    if (!deletion) return;
    const { text, editing } = this.#draft;
    const isKept = !text && deletion.change.actor_id !== chats.me.user_id;
    this.#keep({ editing: null, text: isKept ? (editing?.text ?? "") : text });
    this.#show();
  }

  /** Loads the members of a group if the text may mention some; of a channel, the completion finds those. */
  #loadMembers() {
    if (!this.#text.includes("@")) return;
    if (!this.#app.chats.isChannel(this.#chat_id)) void this.#app.chats.loadMembers(this.#chat_id);
    else if (this.#completion) void this.#completion.findMentioned();
    else void this.#loadCompletion();
  }

  /** Ends the edit, or the reply; the text of the draft stays. */
  #cancel() {
    this.#keep(this.#edited ? { editing: null } : { reply_to: "" });
    this.#show();
    this.focus();
  }

  /** @param {HTMLTextAreaElement} field */
  #begin(field) {
    field.value = this.#text;
    this.#field = field;
    this.#loadMembers();
    this.#completion = null;
    this.#app.sending.drafts.field = {
      chat_id: this.#chat_id,
      accepts: (change) => {
        const isFocused = !this.#edited && hasFocus(field);
        return mayReplace({ text: this.#draftText, isFocused, isOwn: this.#isOwn }, change);
      },
      show: (text) => {
        if (!this.#edited) field.value = text;
        this.#isOwn = false;
      },
      remove: (piece) => this.#remove(piece),
    };
  }

  #pickEmoji = (/** @type {Event} */ event) => {
    const opener = /** @type {HTMLElement} */ (event.currentTarget);
    void pickEmoji(opener, (emoji) => this.#field && insert(this.#field, emoji));
  };

  #written() {
    if (!this.#completion && /[:@]/.test(this.#text)) void this.#loadCompletion();
    if (this.#edited) return this.#keep({ editing: { message_id: this.#edited, text: this.#text } });
    this.#isOwn = true;
    this.#keep({ text: this.#text });
    if (this.#unsent().trim()) this.#app.sending.writing(this.#chat_id);
  }

  /** Loads the module while the person chooses. */
  #pick = (/** @type {Event} */ event) => {
    const opener = /** @type {HTMLElement} */ (event.currentTarget);
    const loading = this.#loadAttachments();
    if (!isTouchScreen()) this.#picker?.click();
    else void loading.then((attachments) => this.#picker && attachments?.openChoices(opener, this.#picker));
  };

  #picked() {
    const files = [...(this.#picker?.files ?? [])];
    if (this.#picker) this.#picker.value = ""; // the same file can be picked again
    void this.#attach(files);
  }

  /** @param {ClipboardEvent} event */
  #pasted(event) {
    const files = this.#edited || !event.clipboardData ? [] : filesIn(event.clipboardData);
    if (!files.length) return;
    event.preventDefault();
    void this.#attach(files);
  }

  /** @param {DragEvent} event */
  #draggedOver(event) {
    const { dataTransfer } = event;
    if (!this.#field?.isConnected || this.#edited || !dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    dataTransfer.dropEffect = "copy";
    void this.#loadAttachments().then((attachments) => attachments?.draggedOver());
  }

  /** @param {DragEvent} event */
  #dropped(event) {
    this.#draggedOver(event);
    if (event.defaultPrevented && event.dataTransfer) void this.#attach(filesIn(event.dataTransfer));
  }

  /** @param {File[]} files */
  async #attach(files) {
    if (!(await this.#beginAttaching(files))) this.#app.notify(texts.failed.noResponse);
    if (!isTouchScreen()) this.focus();
  }

  /** Shows the files that the draft has from before a reload, or from another tab. */
  #restore() {
    if (!this.#attachments && !this.#attaching && !this.#edited && this.#hasFiles) void this.#beginAttaching([]);
  }

  /** @param {File[]} files @returns {Promise<boolean>} whether they are attached */
  async #beginAttaching(files) {
    const attaching = (this.#attaching = this.#addFiles(files));
    const isDone = await attaching;
    if (attaching === this.#attaching) this.#attaching = null;
    return isDone;
  }

  /** @param {File[]} files */
  async #addFiles(files) {
    const attachments = await this.#loadAttachments();
    if (files.length) attachments?.add(files);
    return attachments !== null;
  }

  /** Returns null if the server is away, and the browser has not kept the module. */
  async #loadAttachments() {
    if (this.#attachments) return this.#attachments;
    try {
      const { Attachments, openAttachments } = await import("./attachments.js");
      await openAttachments(this.#app);
      this.#attachments ??= new Attachments(this.#app, this.#chat_id, () => this.focus());
      this.#app.root.invalidate();
    } catch {
      // The caller shows it, or the next call loads it.
    }
    return this.#attachments;
  }

  /** Records a voice message. The focus goes to the button that sends it. */
  async #record() {
    try {
      const { VoiceMessage } = await import("./voice.js");
      const ended = () => voice === this.#voice && this.#setVoice(null); // a double click begins two: one goes on
      const voice = await VoiceMessage.begin(this.#app, this.#chat_id, ended);
      if (!voice || this.#isStopped || this.#voice) return voice?.cancel();
      this.#setVoice(voice);
    } catch {
      this.#app.notify(texts.failed.noResponse);
    }
  }

  /** @param {import("./voice.js").VoiceMessage | null} voice */
  #setVoice(voice) {
    this.#voice = voice;
    if (voice) this.#app.root.after(() => this.#sendButton?.focus());
    else if (!isTouchScreen()) this.#app.root.after(() => this.focus());
    this.#app.root.invalidate();
  }

  #voiceKeyPressed = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    this.#voice?.cancel();
  };

  /** @param {import("./voice.js").VoiceMessage} voice */
  async #sendVoice(voice) {
    const { reply_to } = this.#draft;
    this.#setVoice(null);
    if (reply_to) this.#keep({ reply_to: "" });
    if (await voice.send(reply_to)) this.#kept();
    else if (reply_to && !this.#draft.reply_to) this.#keep({ reply_to });
  }

  async #loadCompletion() {
    const field = this.#field;
    try {
      const { Completion } = await import("./completion.js");
      if (this.#completion || !field || field !== this.#field) return;
      this.#completion = new Completion(field, this.#app, this.#chat_id);
      if (document.activeElement === field) this.#completion.look();
    } catch {
      // The server is away: the next letter loads it again.
    }
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    if (isForInputMethod(event)) return;
    if (this.#completion?.keyPressed(event) || this.#editKeyPressed(event) || this.#markerKeyPressed(event)) return;
    if (!sends(event) || isTouchScreen()) return;
    event.preventDefault();
    void this.#submit();
  }

  /** Escape ends the edit or the reply; the arrow up edits the user's last message. @param {KeyboardEvent} event */
  #editKeyPressed(event) {
    const isPlain = !(event.shiftKey || event.ctrlKey || event.altKey || event.metaKey);
    const last = isPlain && event.key === "ArrowUp" && !this.#text && !this.#edited ? this.#lastOwn() : undefined;
    if (last) this.edit(last);
    else if (isPlain && event.key === "Escape" && (this.#edited || this.#draft.reply_to)) this.#cancel();
    else return false;
    event.preventDefault();
    return true;
  }

  /** Puts markers around the selection. @param {KeyboardEvent} event */
  #markerKeyPressed(event) {
    const marker = markerOf(event);
    if (!marker || !this.#field) return false;
    event.preventDefault();
    const { value, selectionStart, selectionEnd } = this.#field;
    insert(this.#field, marker + value.slice(selectionStart, selectionEnd) + marker);
    this.#field.setSelectionRange(selectionStart + marker.length, selectionEnd + marker.length);
    return true;
  }

  /** The user's last message, as shown, if it can be edited. */
  #lastOwn() {
    const { chats, sending } = this.#app;
    const messages = chats.conversations.known(this.#chat_id).map((message) => sending.shown(message));
    const isShown = (/** @type {Message} */ each) => !isDeleted(each) && !isHidden(each) && (textOf(each) !== "" || each.files.length > 0);
    const last = messages.findLast((each) => each.sender_id === chats.me.user_id && isShown(each));
    return last && sending.mayEdit(last.message_id) ? last : undefined;
  }

  async #submit() {
    if (this.#voice) return this.#sendVoice(this.#voice);
    this.#restore();
    if (this.#attaching && !(await this.#attaching)) return this.#app.notify(texts.failed.noResponse);
    const text = this.#unsent();
    const body = bodyOf(text);
    if ((!body && !this.#hasFiles) || this.#excess() > 0) return;
    this.focus();
    if (this.#edited) this.#save(body);
    else await this.#send(text, body);
  }

  /** Waits for the members whom a text may mention: of a channel, those with the names in it. @param {string} text */
  async #membersLoaded(text) {
    if (!text.includes("@")) return;
    const { chats } = this.#app;
    const loading = chats.isChannel(this.#chat_id) ? this.#findMentioned(text) : chats.loadMembers(this.#chat_id);
    await inTime(MEMBERS_DEADLINE_MS, loading).catch(() => {}); // the server is away: the names stay in the text
  }

  /** @param {string} text */
  async #findMentioned(text) {
    const { findMentioned } = await import("../stores/channel-members.js");
    await findMentioned(this.#app, this.#chat_id, text);
  }

  /** @param {string} body of the edited message */
  #save(body) {
    const { chats, sending } = this.#app;
    const message = chats.quotes.get(this.#chat_id, this.#edited) ?? undefined;
    const shown = message && sending.shown(message);
    const text = () => this.#textOf(body, shown && this.#mentionsOf(shown));
    if (!shown || textOf(shown) !== text().body) void this.#sendEdit(this.#edited, text);
    this.#keep({ editing: null });
    this.#show();
  }

  /**
   * Edits a message, which shows that at once. The edit is sent when the members whom it may mention are loaded.
   * @param {string} message_id
   * @param {() => Text} textNow its text, with the mentions that are known by then
   */
  async #sendEdit(message_id, textNow) {
    const { sending } = this.#app;
    const { changes } = sending;
    const text = textNow();
    const isHeld = text.body.includes("@");
    if (isHeld) changes.held.add(text);
    sending.edit(this.#chat_id, message_id, text);
    if (!isHeld) return;
    await this.#membersLoaded(text.body);
    changes.held.delete(text);
    const waiting = changes.of(this.#chat_id).find(({ change }) => change.edited?.text === text); // unless another edit has replaced it
    if (waiting && !waiting.first_sent_ms) changes.change({ ...waiting, change: { ...waiting.change, edited: { text: textNow() } } });
    sending.flush();
    sending.changed();
  }

  /**
   * The mentions of an edited message, without former members. If the members of a group could not be loaded, and in a
   * channel, the page does not know the former members: it takes away the mentions that the server refuses.
   * @param {Message} message as shown
   */
  #mentionsOf(message) {
    const { chats } = this.#app;
    const mentions = mentionsOf(message);
    const areMembersKnown = chats.rosters.of(this.#chat_id).phase === "ready" && !chats.isChannel(this.#chat_id);
    if (!areMembersKnown) return mentions;
    const ids = new Set(chats.memberIds(this.#chat_id));
    return mentions.filter(({ user_id = "" }) => ids.has(user_id));
  }

  /** @param {string} body @param {readonly Mention[]} [before] an edit: the names that meant members before */
  #textOf(body, before) {
    const { chats } = this.#app;
    return textWith(body, chats.members(this.#chat_id), before, may(chats.of(this.#chat_id), "MENTION_EVERYONE"));
  }

  /**
   * The text leaves the draft only when it is kept in the outbox. Letters that are typed meanwhile stay.
   * @param {string} text
   * @param {string} body the message in it
   */
  async #send(text, body) {
    const piece = { text };
    const { reply_to } = this.#draft;
    this.#leaving.pieces.push(piece);
    if (reply_to) this.#keep({ reply_to: "" });
    const { sending } = this.#app;
    const files = this.#attachments?.take() ?? [];
    const loading = this.#membersLoaded(body);
    const send = async () => {
      await loading;
      const { body: written, ...mentioned } = this.#textOf(body);
      const content = { reply_to, ...mentioned };
      return files.length && sending.uploads
        ? sending.uploads.attached.send(this.#chat_id, written, content, files)
        : sending.send(this.#chat_id, written, content);
    };
    await sending.drafts.keepNext(this.#chat_id, send);
    const { field } = sending.drafts;
    if (field?.chat_id === this.#chat_id) field.remove(piece);
    else this.#remove(piece);
    this.#kept();
  }

  /** A message is kept: the messages go to the end, unless the user has left the chat meanwhile. */
  #kept() {
    if (!this.#isStopped) this.#sent();
  }

  /** @param {Piece} piece that is kept in the outbox */
  #remove(piece) {
    const rest = this.#unsentDraft();
    const pieces = this.#leaving.pieces.filter((other) => other !== piece);
    if (pieces.length === this.#leaving.pieces.length) return; // the person changed the text meanwhile
    this.#leaving.pieces = pieces;
    const text = pieces.map((other) => other.text).join("") + rest;
    if (this.#field && !this.#edited) this.#field.value = text;
    this.#keep({ text });
  }

  /** The text of the field that is not being sent. */
  #unsent() {
    return this.#edited ? this.#text : this.#unsentDraft();
  }

  /** The draft without its start that is being kept in the outbox. */
  #unsentDraft() {
    const leaving = this.#leaving.pieces.map((piece) => piece.text).join("");
    const text = this.#draftText;
    if (text.startsWith(leaving)) return text.slice(leaving.length);
    this.#leaving.pieces = []; // the person changed it meanwhile
    return text;
  }

  /** The number of bytes above the limit of a message. */
  #excess() {
    return encoder.encode(bodyOf(this.#unsent())).length - this.#app.sending.maxTextBytes;
  }
}

/** Whether this page can record: browsers have a microphone only on https and localhost. */
const canRecord = () => "MediaRecorder" in globalThis && Boolean(navigator.mediaDevices?.getUserMedia);

/** Whether keys that are pressed now go to the field. @param {HTMLElement} field */
const hasFocus = (field) => document.hasFocus() && document.activeElement === field;
