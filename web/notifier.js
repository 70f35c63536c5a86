// Decides which messages are worth a notification. A message of another user arrives in every tab; the tab that was
// used last notifies. If it does not within its turn, because the browser has frozen it, the next tab notifies.

import { concerns } from "./controls.js";
import { compareIds, isGroup, laterId } from "./ids.js";
import { isDeleted } from "./kinds/deleted.js";
import { isHidden } from "./kinds/hidden.js";
import { marksOf, readUpTo } from "./kinds/marked.js";
import { isSilent } from "./kinds/own.js";
import { texts } from "./languages/language.js";
import { shownPlain } from "./messages.js";
import { Chats } from "./stores/chats.js";
import { Settings } from "./stores/settings.js";
import { Tabs } from "./tabs.js";

/** @import {Handled} from "./tabs.js" */
/** @import {Message} from "./types.js" */

/** The time before the first turn: the state of other tabs, or a read mark of another device, may arrive. */
const FIRST_TURN_MS = 200;
/** The time between the turns of two tabs. */
const TURN_MS = 1_000;
/** The shortest time between two sounds, and between two notifications of one chat. */
const PAUSE_MS = 2_000;

/**
 * @typedef {object} Situation
 * @property {boolean} isUnread no device has read the message, and it is not deleted
 * @property {boolean} isShown the end of its chat is on the screen of a tab
 * @property {string} desktop the setting
 * @property {string} sound the setting
 * @property {NotificationPermission} permission of the browser
 */

/** How to notify of a message. @param {Situation} situation @returns {{banner: boolean, sound: boolean}} */
export function decide({ isUnread, isShown, desktop, sound, permission }) {
  const isNews = isUnread && !isShown;
  return { banner: isNews && desktop === "on" && permission === "granted", sound: isNews && sound === "on" };
}

/**
 * The texts of a notification.
 * @param {Message} message
 * @param {Pick<Chats, "profiles" | "titleOf">} chats
 * @param {string} content the setting
 */
export function textsOf(message, chats, content) {
  const { profiles } = chats;
  if (content === "hidden") return { title: "Rookery", body: texts.notification.hidden };
  const { chat_id, sender_id, control } = message;
  const [sender, text] = [profiles.nameOf(sender_id), shownPlain(message, profiles)];
  if (!isGroup(chat_id)) return { title: sender || texts.notification.fromUnknown, body: text };
  const body = control || !sender ? text : texts.shell.announced(sender, text);
  return { title: chats.titleOf(chat_id) || texts.notification.fromUnknown, body };
}

/**
 * Whether to ask for notifications: the person has just sent a message, and has not chosen yet.
 * @param {{hasSent: boolean, desktop: string, permission: NotificationPermission}} state
 */
export const shouldAsk = ({ hasSent, desktop, permission }) =>
  hasSent && desktop === "unset" && permission === "default";

/**
 * The functions of the browser that notifications use.
 * @typedef {object} Browser
 * @property {() => NotificationPermission} permission "denied" without support for notifications
 * @property {(chat_id: string, texts: {title: string, body: string}) => void} show replaces the chat's earlier one
 * @property {(chat_id?: string) => void} close without a chat: all of this browser
 * @property {() => unknown} playSound
 */

export class Notifier {
  #chats;
  #settings;
  #tabs;
  #browser;
  /**
   * The newest message of each chat for which this tab waits for its turn.
   * @type {Map<string, {message: Message, timer: ReturnType<typeof setTimeout>}>}
   */
  #waiting = new Map();
  /** The newest message of each chat that a tab has handled. @type {Map<string, string>} */
  #handled = new Map();
  /** The messages whose notifications this tab shows, by chat_id. @type {Map<string, Message>} */
  #shown = new Map();
  /** The time of the last notification of each chat, of any tab. @type {Map<string, number>} */
  #notified_ms = new Map();
  #sounded_ms = -Infinity;

  /** @param {Chats} chats @param {Settings} settings @param {Tabs} tabs @param {Browser} browser */
  constructor(chats, settings, tabs, browser) {
    this.#chats = chats;
    this.#settings = settings;
    this.#tabs = tabs;
    this.#browser = browser;
    tabs.onHandled = (handled) => this.#wasHandled(handled);
  }

  /** A message of another user arrived live, or was missed. @param {Message} message */
  arrived(message) {
    const { chat_id, message_id, control } = message;
    const { me: { user_id }, clock } = this.#chats;
    if (control && !concerns(control, user_id)) return;
    if (isSilent(this.#chats.of(chat_id), message, user_id, clock.now_ms())) return;
    if (compareIds(message_id, this.#handled.get(chat_id) ?? "0") <= 0) return;
    const waiting = this.#waiting.get(chat_id);
    if (waiting) return void (waiting.message = message);
    this.#tabs.check(chat_id);
    const since_ms = performance.now() - (this.#notified_ms.get(chat_id) ?? -Infinity);
    const after_ms = Math.max(FIRST_TURN_MS, PAUSE_MS - since_ms) + this.#tabs.turn * TURN_MS;
    this.#waiting.set(chat_id, { message, timer: setTimeout(() => this.#take(chat_id), after_ms) });
  }

  /** Closes the notifications of messages that were read or deleted meanwhile, on any device. */
  chatsChanged() {
    for (const [chat_id, message] of this.#shown) {
      if (this.#isUnread(message)) continue;
      this.#shown.delete(chat_id);
      this.#browser.close(chat_id);
    }
  }

  /** The sign-in has ended. */
  stop() {
    for (const { timer } of this.#waiting.values()) clearTimeout(timer);
    this.#browser.close();
  }

  /** Called at the turn of this tab: notifies of the message. @param {string} chat_id */
  #take(chat_id) {
    const arrived = this.#waiting.get(chat_id)?.message;
    this.#waiting.delete(chat_id);
    if (!arrived) return;
    const message = this.#chats.conversations.current(arrived);
    const { banner, sound } = decide({
      isUnread: this.#isUnread(message),
      isShown: this.#tabs.isShown(chat_id),
      desktop: this.#settings.get("desktop"),
      sound: this.#settings.get("sound"),
      permission: this.#browser.permission(),
    });
    const handled = { chat_id, message_id: message.message_id, isNotified: banner || sound };
    this.#tabs.handled(handled);
    this.#wasHandled(handled);
    if (banner) this.#show(message);
    if (sound) this.#sound();
  }

  /** @param {Message} message */
  #show(message) {
    const { chat_id } = message;
    this.#browser.show(chat_id, textsOf(message, this.#chats, this.#settings.get("content")));
    this.#shown.set(chat_id, message);
  }

  #sound() {
    const now_ms = performance.now();
    if (now_ms - this.#sounded_ms < PAUSE_MS) return;
    this.#sounded_ms = now_ms;
    this.#browser.playSound();
  }

  /** Whether no device has read the message, or need to, and it is not deleted. @param {Message} message */
  #isUnread(message) {
    const [chat, me] = [this.#chats.of(message.chat_id), this.#chats.me.user_id];
    const mark = message.control ? marksOf(chat, me).read_up_to : readUpTo(chat, me);
    const current = this.#chats.conversations.current(message);
    return compareIds(mark, message.message_id) < 0 && !isDeleted(current) && !isHidden(current);
  }

  /** A tab, this one or another, has handled a message. @param {Handled} handled */
  #wasHandled({ chat_id, message_id, isNotified }) {
    if (isNotified) this.#notified_ms.set(chat_id, performance.now());
    this.#handled.set(chat_id, laterId(this.#handled.get(chat_id) ?? "0", message_id));
    const waiting = this.#waiting.get(chat_id);
    if (!waiting || compareIds(waiting.message.message_id, message_id) > 0) return;
    clearTimeout(waiting.timer);
    this.#waiting.delete(chat_id);
  }
}
