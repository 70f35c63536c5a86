// Everything that this user sends: messages by way of the outbox, drafts, changes, marks and typing signals. Each is
// kept until the server accepts it, and sent again in the next session; a typing signal is not.

import { Drafts } from "../drafts.js";
import { may, showsDelivered } from "../groups.js";
import { timeOfId } from "../ids.js";
import { isMarkedUnread } from "../kinds/marked-unread.js";
import { ownSettings } from "../kinds/own.js";
import { hasReacted } from "../kinds/reacted.js";
import { captioned, filesText, fromEntry } from "../messages.js";
import { Outbox } from "../outbox.js";
import { Changes, WaitingMarks } from "../pending.js";
import { Queue } from "../queue.js";
import { Chats } from "./chats.js";
import { Kept } from "./kept.js";
import { Store } from "./store.js";

/** @import {Api} from "../api.js" */
/** @import {Uploads} from "../files/uploads.js" */
/** @import {ListedKind} from "../kinds/listed.js" */
/** @import {OwnKind} from "../kinds/own.js" */
/** @import {Channel} from "../tabs.js" */
/** @import {Chat, Content, Message, Queued} from "../types.js" */
/** @import {Change, ClientFrame, Limits, Marked, Refused, ServerFrame, Text} from "../wire.js" */

/** Marks within this many milliseconds are sent together. */
const MARKS_PAUSE_MS = 150;
/** Marks of a channel, whose messages hundreds of users may read at once, are sent within this time. */
const CHANNEL_MARKS_MS = 10_000;
/** The limit until Welcome states another. */
const MAX_TEXT_BYTES = 16 * 1024;

/**
 * The connection, as far as sending uses it.
 * @typedef {object} Line
 * @property {(frame: ClientFrame, answered?: (answer: ServerFrame) => void) => boolean} send returns false while there
 * is no session
 */

/** @typedef {{state: "failed" | "draft" | "pending", text: string}} Unsent in a few words, what is not in the history yet */

export class Sending extends Store {
  maxTextBytes = MAX_TEXT_BYTES;
  /** The limit of a file; 0 if it is not known. */
  maxFileBytes = 0;
  /** For how long a message can be edited, in milliseconds. */
  #editable_ms = Infinity;
  /** The files of drafts and unsent messages, once the module is loaded. @type {Uploads | null} */
  uploads = null;
  /** Whether the sign-in has ended. */
  hasEnded = false;
  /** Whether to send typing events to the other members. */
  isTypingShown = () => true;
  /** Whether a message was sent since the page was opened. */
  hasSent = false;
  /**
   * Called when the server has finally refused a change, which the page does not show any more.
   * @param {Change} _change
   * @param {Refused} _refused
   */
  onRefused = (_change, _refused) => {};
  #chats;
  #api;
  #line;
  #kept;
  #marks;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #flushTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #marksTimer;
  #marksDue_ms = Infinity;

  /** @param {Chats} chats @param {Kept} kept @param {Line} line @param {Api} api for files */
  constructor(chats, kept, line, api) {
    super();
    this.#chats = chats;
    this.#api = api;
    this.#kept = kept;
    this.#line = line;
    this.outbox = new Outbox(kept);
    this.changes = new Changes(kept);
    this.drafts = new Drafts(kept, this.outbox);
    this.outbox.onAccepted = (entry, event_id) => {
      const message = fromEntry(entry, chats.me.user_id);
      chats.add({ ...message, message_id: event_id, at_ms: timeOfId(event_id), state: "accepted", error: "" });
    };
    this.changes.onAccepted = ({ change }, event_id) => chats.change({ event_id, change });
    for (const queue of [this.outbox, this.changes]) queue.onFollowed = () => this.#followed();
    this.#marks = new WaitingMarks(() => chats.me.shows_read_marks === false);
    kept.subscribe(() => this.changed());
    this.#loadNeeded();
    chats.onUndelivered = (chat_id, delivered_up_to) => showsDelivered(chats.of(chat_id)) && this.#mark(chat_id, { delivered_up_to });
    chats.onUnsent = (chat_id, marked) => this.#mark(chat_id, marked);
  }

  /**
   * Shares drafts, and unsent messages and changes, with the other tabs of this user.
   * @param {(name: "drafts" | "outbox" | "changes") => Channel} open
   * @param {AbortSignal} end
   */
  share(open, end) {
    for (const name of /** @type {const} */ (["drafts", "outbox", "changes"])) this[name].share(open(name), end);
  }

  /** Another tab has changed what is not sent yet. */
  #followed() {
    this.#loadNeeded();
    this.flush();
    this.changed();
  }

  /** Whether what is not sent yet would survive that the page closes. */
  get isDurable() {
    return this.#kept.isDurable && this.uploads?.isDurable !== false;
  }

  /** Whether a reload loses nothing, not even messages that are not kept yet, and files beyond what drafts keep. */
  get survivesReload() {
    return this.isDurable && !this.drafts.leavingCount && !this.uploads?.attached.hasUnkept;
  }

  /** The messages of a chat that are not accepted yet, in order. @param {string} chat_id @returns {Message[]} */
  waiting(chat_id) {
    return this.outbox.of(chat_id).map((entry) => fromEntry(entry, this.#chats.me.user_id));
  }

  /** The message with the user's changes to it that are not accepted yet. @param {Message} message */
  shown(message) {
    return this.changes.over(message);
  }

  /**
   * The texts and files of this browser that are not in the history yet. Of each chat: the failed message, else the draft, which
   * a chat does not show while the user may not write in it, else the newest waiting message.
   * @returns {Map<string, Unsent>} by chat_id
   */
  unsent() {
    /** @type {Map<string, Unsent>} */
    const texts = new Map();
    for (const [chat_id, { state, body, files = [] }] of this.outbox.byChat())
      texts.set(chat_id, { state, text: body || filesText(files) });
    for (const chat_id of new Set([...this.drafts.chats, ...(this.uploads?.attached.chats ?? [])])) {
      const text = captioned(this.attached(chat_id), this.drafts.get(chat_id).text.trim());
      const chat = this.#chats.of(chat_id);
      const isOpen = chat.group ? may(chat, "POST") : !this.#chats.isClosed(chat_id);
      const isShown = text && isOpen && texts.get(chat_id)?.state !== "failed";
      if (isShown) texts.set(chat_id, { state: "draft", text });
    }
    return texts;
  }

  /** The files that are attached to a chat's draft. @param {string} chat_id */
  attached(chat_id) {
    return this.uploads?.attached.of(chat_id) ?? this.drafts.get(chat_id).files;
  }

  /** Returns when the message is kept. @param {string} chat_id @param {string} body @param {Partial<Content>} [content] */
  async send(chat_id, body, content = {}) {
    await this.outbox.add(chat_id, { reply_to: "", ...content, body }, Date.now());
    this.hasSent = true;
    this.#chats.typing.reset();
    this.flush();
    this.changed();
  }

  /** Loads what uploads files; rejects if the server is away. @returns {Promise<Uploads>} */
  async loadUploads() {
    const { Uploads } = await import("../files/uploads.js");
    return (this.uploads ??= new Uploads(this, this.#api, this.#chats));
  }

  #loadNeeded() {
    const drafts = this.drafts.chats.map((chat_id) => this.drafts.get(chat_id));
    if ([...this.outbox.all, ...drafts].some(({ files }) => files?.length)) this.loadUploads().catch(() => {}); // the next session loads it again
  }

  /** Sends a failed message again. @param {Pick<Message, "client_message_id">} message */
  retry({ client_message_id }) {
    this.outbox.retry(client_message_id);
    this.flush();
    this.changed();
  }

  /** Takes back a message whose files are not uploaded. @param {Message} message */
  cancel(message) {
    this.uploads?.cancel(message);
  }

  /** Sends a failed message without the file that could not be sent. @param {Message} message */
  sendWithout(message) {
    this.uploads?.sendWithout(message);
  }

  /** Deletes a failed message. @param {Message} message */
  discard({ client_message_id }) {
    this.outbox.remove(client_message_id);
    this.changed();
  }

  /** Sets the user's reaction, or removes it if it is set. @param {Message} message as shown @param {string} emoji */
  toggleReaction(message, emoji) {
    const { chat_id, message_id } = message;
    const set = !hasReacted(message, this.#chats.me.user_id, emoji);
    this.#change({ chat_id, target_id: message_id, reacted: { emoji, set } });
  }

  /** Whether an own message is recent enough to be edited. @param {string} message_id */
  mayEdit(message_id) {
    return this.#chats.clock.now_ms() - timeOfId(message_id) < this.#editable_ms;
  }

  /** @param {string} chat_id @param {string} message_id of an own message @param {Text} text */
  edit(chat_id, message_id, text) {
    this.#change({ chat_id, target_id: message_id, edited: { text } });
  }

  /** Takes the preview of a link away from a message. @param {Message} message */
  removePreview({ chat_id, message_id }) {
    this.#change({ chat_id, target_id: message_id, previewed: {} });
  }

  /** Deletes an own message for everyone. @param {Message} message */
  delete({ chat_id, message_id }) {
    this.#change({ chat_id, target_id: message_id, deleted: {} });
  }

  /**
   * Sets a kind whose changes only set or remove something: pins a message, for example, or deletes it for this user alone.
   * @param {Message} message
   * @param {ListedKind | "hidden"} kind
   * @param {boolean} set
   */
  set({ chat_id, message_id }, kind, set) {
    this.#change({ chat_id, target_id: message_id, [kind]: { set } });
  }

  /** Marks a chat as unread on the user's devices, until one of them opens it. @param {string} chat_id */
  markUnread(chat_id) {
    this.#change({ chat_id, target_id: "0", marked_unread: { set: true } });
  }

  /** The user has opened a chat, which may be marked as unread. @param {string} chat_id */
  removeUnreadMark(chat_id) {
    if (this.#isMarkedUnread(this.#chats.of(chat_id)))
      this.#change({ chat_id, target_id: "0", marked_unread: { set: false } });
  }

  /** Whether a chat has unread messages, or is marked as unread. @param {Chat} chat */
  isUnread(chat) {
    return chat.unread > 0 || this.#isMarkedUnread(chat);
  }

  /** @param {Chat} chat */
  #isMarkedUnread(chat) {
    return isMarkedUnread(this.changes.overChat(chat), this.#chats.me.user_id);
  }

  /** The user's own settings of a chat. @param {Chat} chat */
  own(chat) {
    return ownSettings(this.changes.overChat(chat), this.#chats.me.user_id, this.#chats.clock.now_ms());
  }

  /** Changes one of the user's own settings of a chat. @param {string} chat_id @param {Pick<Change, OwnKind>} change */
  setOwn(chat_id, change) {
    this.#change({ chat_id, target_id: "0", ...change });
  }

  /** Marks all of a chat as read. @param {string} chat_id */
  readAll(chat_id) {
    const { newest } = this.#chats.of(chat_id);
    if (newest) this.markRead(chat_id, newest.message_id);
    this.removeUnreadMark(chat_id);
  }

  /** The user has seen the chat up to this message. @param {string} chat_id @param {string} read_up_to its id */
  markRead(chat_id, read_up_to) {
    this.#mark(chat_id, { read_up_to });
  }

  /** The person is writing in the chat. @param {string} chat_id */
  writing(chat_id) {
    if (this.isTypingShown() && !this.#chats.isChannel(chat_id)) this.#chats.typing.announce(chat_id, this.#line.send);
  }

  /** The sign-in has ended: uploads end, since the next sign-in may be of another user. */
  stop() {
    this.hasEnded = true;
    this.uploads?.stop();
  }

  /** The sign-in has ended: deletes this user's drafts, and unsent messages and changes, from this browser. */
  clear() {
    this.stop();
    this.uploads?.clear();
    return this.#kept.clear();
  }

  // ---- events of the session

  /** @param {Limits} [limits] of this session */
  online({ max_text_bytes, max_file_bytes, edit_seconds } = {}) {
    this.maxTextBytes = max_text_bytes || MAX_TEXT_BYTES;
    this.maxFileBytes = Number(max_file_bytes ?? 0);
    this.#editable_ms = (edit_seconds || Infinity) * 1_000;
    this.#loadNeeded();
    this.uploads?.online();
    this.flush();
    this.flushMarks();
    this.changed();
  }

  offline() {
    for (const each of [this.outbox, this.changes, this.#marks]) each.sessionLost();
  }

  // ---- sending

  /** @param {Change} change of this user, to a message or to a chat */
  #change(change) {
    this.changes.add({ ...change, actor_id: this.#chats.me.user_id }, Date.now());
    this.flush();
    this.changed();
  }

  /** @param {string} chat_id @param {Marked} marked */
  #mark(chat_id, marked) {
    this.#marks.add(chat_id, marked);
    this.#chats.change({ event_id: "0", change: { chat_id, actor_id: this.#chats.me.user_id, marked } });
    const pause_ms = this.#chats.isChannel(chat_id) ? CHANNEL_MARKS_MS * (1 - Math.random() / 2) : MARKS_PAUSE_MS;
    const due_ms = Date.now() + pause_ms;
    if (due_ms >= this.#marksDue_ms) return;
    clearTimeout(this.#marksTimer);
    this.#marksDue_ms = due_ms;
    this.#marksTimer = setTimeout(() => this.flushMarks(), pause_ms);
  }

  /** Sends all marks that wait. */
  flushMarks() {
    clearTimeout(this.#marksTimer);
    this.#marksDue_ms = Infinity;
    this.#marks.flush(this.#line.send);
  }

  /** Sends what is due, and sets a timer for what is delayed. Files that were uploaded let their message be due. */
  flush() {
    clearTimeout(this.#flushTimer);
    const now_ms = Date.now();
    // Changes first: that the user's links get no previews in a chat counts for later messages.
    const next_ms = Math.min(this.#sendChanges(now_ms), this.#sendMessages(now_ms));
    if (next_ms < Infinity) this.#flushTimer = setTimeout(() => this.#delayed(), next_ms - now_ms);
  }

  /** Delayed entries are due; among them may be some with files to upload that another tab had reserved. */
  #delayed() {
    this.flush();
    this.changed();
  }

  /** @param {number} now_ms @returns {number} when the next delayed message is due */
  #sendMessages(now_ms) {
    return this.#sendDue(this.outbox, now_ms, {
      frameOf: ({ client_id, chat_id, body, mentions, mentions_everyone, reply_to, forwarded, files }) => {
        const text = { body, mentions, mentions_everyone };
        const refs = files?.map(({ file_id, chat_id, message_id }) => ({ file_id, chat_id, message_id }));
        const send = { client_message_id: client_id, chat_id, text, reply_to: reply_to || undefined, forwarded };
        return { send: { ...send, files: refs } };
      },
      refused: ({ client_id, chat_id }, { code, field }) => {
        this.uploads?.refused(client_id, field);
        if (code === "recipient_deleted") this.#chats.profiles.refresh(this.#chats.otherOf(chat_id));
      },
    });
  }

  /** @param {number} now_ms @returns {number} when the next delayed change is due */
  #sendChanges(now_ms) {
    return this.#sendDue(this.changes, now_ms, {
      frameOf: ({ client_id, change: { actor_id, ...change } }) => ({
        change: { ...change, client_change_id: client_id },
      }),
      refused: ({ client_id, change }, refused) => {
        this.changes.remove(client_id);
        this.#restoreEdit(change, refused);
        this.onRefused(change, refused);
      },
    });
  }

  /**
   * The text of a refused edit returns to the composer, so that it is not lost: as the draft if it is too late for the edit.
   * @param {Change} change
   * @param {Refused} refused
   */
  #restoreEdit({ chat_id, target_id = "", edited }, refused) {
    if (!edited) return;
    const body = edited.text?.body;
    const { drafts } = this;
    const { editing, text } = drafts.get(chat_id);
    const isLate = this.#isLate(target_id, refused);
    if (!body || (isLate ? text : editing)) return;
    drafts.keep(chat_id, isLate ? { text: body } : { editing: { message_id: target_id, text: body } });
    if (isLate && drafts.field?.chat_id === chat_id) drafts.field.show(body);
  }

  /**
   * Whether a refused edit came too late. The server may find so before the page: the limit has changed since Welcome, or
   * the clock of this device was set back. Then no message of this age is edited until the next Welcome.
   * @param {string} target_id
   * @param {Refused} refused
   */
  #isLate(target_id, { code, field }) {
    // Only the age of an own message is refused with this code and field.
    if (code === "forbidden" && field === "change.target_id")
      this.#editable_ms = Math.min(this.#editable_ms, this.#chats.clock.now_ms() - timeOfId(target_id));
    return !this.mayEdit(target_id);
  }

  /**
   * Sends the due entries of a queue.
   * @template {Queued} E
   * @param {Queue<E>} queue
   * @param {number} now_ms
   * @param {object} kind
   * @param {(entry: E) => ClientFrame} kind.frameOf
   * @param {(entry: E, refused: Refused) => void} kind.refused called after the final refusal
   * @returns {number} when the next delayed entry is due; Infinity if none is
   */
  #sendDue(queue, now_ms, { frameOf, refused }) {
    const { due, next_ms } = queue.due(now_ms);
    for (const entry of due) {
      const { client_id } = entry;
      const frame = { ...frameOf(entry), first_sent_ms_ago: queue.firstSentMsAgo(client_id, now_ms) };
      const isSent = this.#line.send(frame, async (answer) => {
        const refusal = answer.refused;
        const isRepaired =
          refusal?.field?.includes(".mentions") &&
          (await import("./refused-mentions.js").then(({ repair }) => repair(queue, client_id, refusal), () => false));
        const answered = queue.get(client_id); // another tab may have removed it, or noted its refusal
        if (answered && answer.accepted) queue.remove(client_id, answer.accepted.event_id ?? "0");
        else if (!isRepaired && answered?.state === "pending" && refusal && queue.refused(client_id, refusal, Date.now()))
          refused(answered, refusal);
        this.flush();
        this.changed();
      });
      if (!isSent) return Infinity; // the next session sends all
      queue.sent(client_id, now_ms);
    }
    return next_ms;
  }
}
