// The messages of a chat. A part of them is on the page, at most `MAX_ROWS` messages: it moves with the view, so that
// the page costs the same whatever is loaded. The lines in view never jump.

import { concerns } from "../controls.js";
import { toDays } from "../days.js";
import { moveFocus } from "../focus.js";
import { dayLabel } from "../format.js";
import { may } from "../groups.js";
import { NOTHING } from "../history.js";
import { icon } from "../icons.js";
import { compareIds, firstIdAt, idBelow, isGroup } from "../ids.js";
import { isHidden } from "../kinds/hidden.js";
import { marksOf, readUpTo } from "../kinds/marked.js";
import { texts } from "../languages/language.js";
import { firstUnread, Part, readOverHidden } from "../message-window.js";
import { h, memo } from "../view.js";
import { controlLine } from "./control-line.js";
import { emptyState, failure, skeletonMessages } from "./empty.js";
import { messageItem } from "./message-item.js";
import { ScrollAnchor } from "./scroll-anchor.js";

/** @import {App} from "./app-shell.js" */
/** @import {MessageActions} from "./message-menu.js" */
/** @import {Piece} from "../history.js" */
/** @import {Chat, Message} from "../types.js" */
/** @import {Day, Row} from "../days.js" */

/**
 * The next messages come onto the page, or are fetched, when this many screens are left to scroll, and pixels at most.
 */
const SCREENS_AHEAD = 1.5;
const MOST_AHEAD = 1_500;
/** Messages among which one that was just accepted is looked for, besides as many as are waiting. */
const RECENT = 50;
/** A message that a link or a date opened is marked for this time. */
const MARKED_MS = 2_500;
/** The target message is shown below this share of the view, so that some earlier messages are visible. */
const VIEW_ABOVE = 1 / 3;

export class MessageList {
  #app;
  #chat_id;
  /** @type {HTMLElement | undefined} */
  #scroller;
  /** @type {HTMLElement | undefined} */
  #spacer;
  /** @type {HTMLElement | undefined} */
  #lines;
  /** @type {ScrollAnchor | undefined} */
  #anchor;
  #part = new Part();
  /** @type {readonly Message[]} */
  #messages = [];
  /**
   * The loaded messages at the last rendering, hidden ones too, as the user sees them.
   * @type {Pick<Piece, "messages" | "hasOlder">}
   */
  #accepted = NOTHING;
  /** Whether the chat is loaded and its first position is chosen. */
  #isOpened = false;
  /** The id of the message at which to open, or the id for a time; empty for the first unread message, or the end. */
  #target;
  /** Whether the target is a time: then the first message from it on is marked. */
  #isTime = false;
  /** Where the next rendering scrolls to. @type {"" | "end" | "unread" | "target"} */
  #goal = "";
  /** The key of the target message, or of the first one after it. */
  #reached = "";
  /** Counts the movements to another place; while one loads its messages, a later one replaces it. */
  #moves = 0;
  /** The key of the target message, for a short time; empty if the chat does not show that message. */
  #marked = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #markTimer;
  /** The key of the message that was the first unread one when the chat was opened; empty if none was. */
  #unreadKey = "";
  /** Whether unread messages are above those that were on the screen. */
  #isUnreadAbove = false;
  /** The messages that may be unread and arrived while the end was out of view. */
  #arrived = 0;
  #isFarUp = false;
  /** The key of the message that has the focus, or holds it. */
  #focused = "";
  /** The key of the message under the pointer. */
  #pointed = "";
  #mayReact = false;
  #isStopped = false;
  #actions;

  /**
   * @param {App} app
   * @param {string} chat_id
   * @param {string} target the id at which to open, or empty
   * @param {MessageActions} actions
   */
  constructor(app, chat_id, target, actions) {
    this.#app = app;
    this.#chat_id = chat_id;
    this.#target = target;
    this.#actions = actions;
  }

  /** The chat is left. Later movements, as of a dialog that outlives it, do nothing: they would open the chat again. */
  stop() {
    this.#isStopped = true;
    this.#anchor?.stop();
  }

  /** Whether the newest message is in view, and stays in view when more arrive. */
  get isAtEnd() {
    return this.#anchor?.isFollowing ?? false;
  }

  focus() {
    this.#scroller?.focus();
  }

  /** A message that may be unread arrived in this chat. */
  arrived() {
    if (this.#anchor?.isFollowing) return;
    this.#arrived++;
    this.#app.root.invalidate();
  }

  /**
   * Marks the only unread message as read before the rendering that shows it at the end: else each message would be
   * rendered twice, and the title would count it for a moment.
   */
  readArrived() {
    const { chats, sending } = this.#app;
    const { messages, hasOlder } = this.#loaded;
    const chat = chats.of(this.#chat_id);
    const isShown = this.isAtEnd && this.#isOpened && !this.#goal && document.visibilityState === "visible";
    if (!chat.unread || !isShown || this.#isUnreadAbove || sending.outbox.size || !this.#scroller?.clientHeight) return;
    const [oldest, newest] = [messages[0], messages.at(-1)];
    const mark = readUpTo(chat, chats.me.user_id);
    const isWhole = oldest && oldest !== newest && (!hasOlder || compareIds(oldest.message_id, mark) <= 0);
    const isOnly = firstUnread(messages, chat, chats.me.user_id, mark) === messages.length - 1;
    if (newest && isWhole && isOnly) sending.markRead(this.#chat_id, newest.message_id);
  }

  /** Goes to the newest message. */
  async toBottom() {
    if (this.#isStopped) return;
    if (!(await this.#moved(this.#app.chats.move(this.#chat_id)))) return;
    this.#target = "";
    this.#isOpened = true;
    this.#part.toEnd(this.#all());
    this.#goal = "end";
    this.#app.root.invalidate();
  }

  /**
   * Scrolls to a message and marks it; to the next one without a mark if the chat does not show it.
   * @param {string} message_id
   */
  goTo(message_id) {
    return this.#goTo(message_id, false);
  }

  /** Scrolls to the first message from a time on, and marks it. @param {number} at_ms */
  goToTime(at_ms) {
    return this.#goTo(firstIdAt(at_ms), true);
  }

  /** @param {string} id @param {boolean} isTime */
  async #goTo(id, isTime) {
    if (this.#isStopped) return;
    this.#target = id;
    this.#isTime = isTime;
    this.#isOpened = false;
    await this.#moved(this.#app.chats.move(this.#chat_id, idBelow(id)));
    this.#app.root.invalidate();
  }

  /** Goes to the first unread message. */
  async #toUnread() {
    const { chats } = this.#app;
    if (this.#isStopped) return;
    if (!(await this.#moved(chats.move(this.#chat_id, chats.unreadMark(this.#chat_id))))) return;
    this.#target = "";
    this.#isOpened = false;
    this.#app.root.invalidate();
  }

  /** Returns whether this is still the last movement when its messages are loaded. @param {Promise<void>} loaded */
  async #moved(loaded) {
    const move = ++this.#moves;
    await loaded;
    return move === this.#moves;
  }

  /** Marks everything as read, also what was not on the screen. */
  #readAll() {
    this.#app.sending.readAll(this.#chat_id);
    this.#isUnreadAbove = false;
  }

  get #loaded() {
    return this.#app.chats.conversations.of(this.#chat_id);
  }

  /** The loaded messages that are not hidden, and messages in the outbox unless newer messages are between the two. */
  #all() {
    const { phase, hasOlder, hasNewer, isStored, ...loaded } = this.#loaded;
    const { sending } = this.#app;
    const accepted = !this.#isOpened && phase === "loading" && !isStored ? [] : loaded.messages;
    const shown = sending.changes.size ? accepted.map((message) => sending.shown(message)) : accepted;
    this.#accepted = { messages: shown, hasOlder };
    const messages = shown.some(isHidden) ? shown.filter((message) => !isHidden(message)) : shown;
    const waiting = hasNewer && phase !== "failed" ? [] : sending.waiting(this.#chat_id);
    if (!waiting.length) return messages;
    const recent = new Set(messages.slice(-waiting.length - RECENT).map(({ key }) => key));
    return [...messages, ...waiting.filter(({ key }) => !recent.has(key))];
  }

  view() {
    this.#anchor?.remember();
    const isFollowing = this.#anchor?.isFollowing ?? true;
    this.#messages = this.#all();
    this.#mayReact = may(this.#app.chats.of(this.#chat_id), "REACT") && !this.#actions.isBlocked();
    if (!this.#isOpened && this.#loaded.phase === "ready") this.#choosePosition();
    else this.#part.follow(this.#messages, isFollowing);
    // In the rendering that shows loaded messages: without lines above, those in view could not stay where they are.
    if (!this.#goal) this.#part.grow(this.#messages, this.#near, isFollowing);
    this.#app.root.after(() => this.#rendered());
    const { start, end } = this.#part;
    const me = this.#app.chats.me.user_id;
    const days = toDays(this.#messages, me, { start, end, unreadKey: this.#unreadKey });
    const scroller = {
      ...{ class: "messages", tabindex: 0, role: "group", "aria-label": texts.messages.label },
      "aria-description": texts.messages.hint,
      ref: (/** @type {HTMLElement} */ element) => void (this.#scroller = element),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#keyPressed(event),
    };
    const spacer = {
      ...{ class: "spacer", key: "spacer" },
      ref: (/** @type {HTMLElement} */ element) => void (this.#spacer = element),
    };
    const lines = {
      ...{ class: "lines", key: "lines" },
      ref: (/** @type {HTMLElement} */ element) => void (this.#lines = element),
      onfocusin: (/** @type {FocusEvent} */ event) => this.#focusMoved(event.target),
      onfocusout: (/** @type {FocusEvent} */ event) => this.#focusMoved(event.relatedTarget),
      // A mouse has to move: messages that scroll below a resting one would be rendered again, one after the other.
      onpointermove: (/** @type {PointerEvent} */ event) => event.pointerType === "mouse" && this.#pointerMoved(event.target),
      onpointerover: (/** @type {PointerEvent} */ event) => event.pointerType !== "mouse" && this.#pointerMoved(event.target),
      onpointerleave: () => this.#pointerMoved(null),
    };
    return h(
      "rookery-message-list",
      { class: "message-list", key: "messages" },
      h("div", scroller, h("div", spacer), this.#top(), h("div", lines, days.map((day) => this.#day(day)))),
      this.#pill(),
      this.#unreadBar(),
    );
  }

  /** The lines of a day, below its name; the name is in view while a line is. @param {Day} day */
  #day({ key, at_ms, rows }) {
    const name = mark("day", "day", dayLabel(at_ms, Date.now()));
    return h("div", { role: "list", key }, name, rows.map((row) => this.#row(row)));
  }

  /** @param {Row} row */
  #row(row) {
    if (row.kind === "unread") return mark(row.key, "unread-mark", texts.messages.new);
    const { key } = row;
    if (row.kind === "control") return controlLine(this.#app, row, key === this.#marked);
    const isFocused = key === this.#focused;
    const isActive = isFocused || key === this.#pointed;
    const state = { isActive, isFocused, isMarked: key === this.#marked, mayReact: this.#mayReact };
    return messageItem(this.#app, row, state, this.#actions);
  }

  // ---- the part on the page

  /** Scrolls to the target when the chat is loaded, else to its first unread message, or to its end. */
  #choosePosition() {
    this.#isOpened = true;
    const { chats, sending } = this.#app;
    sending.removeUnreadMark(this.#chat_id);
    if (this.#target) return this.#chooseTarget();
    const read = chats.unreadMark(this.#chat_id);
    const chat = chats.of(this.#chat_id);
    const unread = read ? firstUnread(this.#messages, chat, chats.me.user_id, read) : -1;
    this.#unreadKey = this.#messages[unread]?.key ?? "";
    this.#goal = unread < 0 ? "end" : "unread";
    this.#part.open(this.#messages, unread);
  }

  #chooseTarget() {
    const [target, isTime] = [this.#target, this.#isTime];
    const isFrom = (/** @type {Message} */ { message_id }) => message_id && compareIds(message_id, target) >= 0;
    const at = this.#messages.findIndex(isFrom);
    const { key = "", message_id = "" } = this.#messages[at] ?? {};
    this.#target = this.#unreadKey = "";
    this.#reached = key;
    this.#marked = isTime || message_id === target ? key : "";
    this.#goal = at < 0 ? "end" : "target";
    this.#part.open(this.#messages, at);
    clearTimeout(this.#markTimer);
    this.#markTimer = setTimeout(() => this.#unmark(), MARKED_MS);
  }

  #unmark() {
    this.#marked = "";
    this.#app.root.invalidate();
  }

  /** Brings the next messages onto the page, or fetches them, before the view reaches them. */
  #extend() {
    const { conversations } = this.#app.chats;
    const { older, newer } = this.#loaded;
    if (!this.#isOpened) return;
    const near = this.#near;
    if (this.#part.canGrow(this.#messages.length, near)) return this.#app.root.invalidate();
    if (near.top && older === "idle") void conversations.loadOlder(this.#chat_id);
    if (near.end && newer === "idle") void conversations.loadNewer(this.#chat_id);
  }

  /** Whether the view is near the edges of the part on the page. */
  get #near() {
    if (!this.#scroller || !this.#anchor) return { top: false, end: false };
    const ahead = Math.min(SCREENS_AHEAD * this.#scroller.clientHeight, MOST_AHEAD);
    return { top: this.#anchor.above < ahead, end: this.#anchor.below < ahead };
  }

  // ---- the view

  /** The described rows are on the page. */
  #rendered() {
    if (!this.#scroller || !this.#spacer || !this.#lines) return;
    const moved = () => this.#scrolled();
    this.#anchor ??= new ScrollAnchor(this.#scroller, this.#spacer, this.#lines, "rookery-message", moved);
    this.#anchor.hasAbove = this.#part.start > 0;
    if (this.#goal) this.#anchor.toBottom();
    if (this.#goal === "unread") this.#anchor.upTo(this.#lines.querySelector(".unread-mark"));
    if (this.#goal === "target") {
      const reached = this.#items.find((item) => item.getAttribute("data-key") === this.#reached);
      this.#anchor.upTo(reached ?? null, VIEW_ABOVE * this.#scroller.clientHeight);
      if (this.#marked) reached?.focus({ preventScroll: true });
    }
    this.#goal = "";
    this.#anchor.restore();
    this.#scrolled();
  }

  #scrolled() {
    if (!this.#scroller || !this.#anchor) return;
    const isAtEnd = this.#part.isAtEnd && !this.#loaded.hasNewer;
    this.#anchor.canFollow = isAtEnd;
    const { openChat, conversations } = this.#app.chats;
    if (this.#chat_id === openChat) conversations.follow(this.#anchor.isFollowing, () => this.#place);
    const before = [this.#arrived, this.#isFarUp, this.#isUnreadAbove].join();
    if (this.#anchor.isFollowing) this.#arrived = 0;
    this.#isFarUp = this.#anchor.below > this.#scroller.clientHeight || !isAtEnd;
    this.#extend();
    this.#read();
    if (before !== [this.#arrived, this.#isFarUp, this.#isUnreadAbove].join()) this.#app.root.invalidate();
  }

  /** The messages on the page. */
  get #items() {
    return /** @type {HTMLElement[]} */ ([...(this.#lines?.querySelectorAll("rookery-message") ?? [])]);
  }

  /** The id of the first message on the screen; empty if there is none. */
  get #place() {
    const [first = 0] = this.#anchor?.visible() ?? [];
    return this.#messages[this.#part.start + first]?.message_id ?? "";
  }

  /**
   * Marks as read the unread messages that are on the screen, and that follow those that were read before; with them
   * the hidden ones up to the next one to read. If none are unread, marks the control changes about the user as read.
   */
  #read() {
    const { chats, sending } = this.#app;
    const chat = chats.of(this.#chat_id);
    if (!chat.unread) this.#isUnreadAbove = false;
    // On a phone the chat list may cover the chat, and then no element of the chat has a size.
    const isVisible = document.visibilityState === "visible" && this.#scroller?.clientHeight;
    if (!this.#isOpened || !isVisible || !this.#anchor) return;
    const me = chats.me.user_id;
    if (!chat.unread) return this.#readControl(chat, this.#anchor.visible());
    const mark = readUpTo(chat, me);
    const unread = firstUnread(this.#messages, chat, me, mark);
    const { messages, hasOlder } = this.#accepted;
    const [oldest] = messages;
    const isWhole = !hasOlder || (oldest && compareIds(oldest.message_id, mark) <= 0);
    const [first, last] = this.#anchor.visible().map((at) => at + this.#part.start);
    if (unread >= 0 && (first === undefined || last === undefined)) return;
    this.#isUnreadAbove = !isWhole || (unread >= 0 && unread < (first ?? 0));
    if (this.#isUnreadAbove) return;
    const seen = this.#messages.slice(unread, (last ?? 0) + 1).findLast(({ message_id }) => message_id);
    const seen_id = unread < 0 ? mark : seen?.message_id;
    const read_up_to = seen_id && readOverHidden(messages, chat, me, seen_id);
    if (read_up_to && compareIds(read_up_to, mark) > 0) sending.markRead(this.#chat_id, read_up_to);
  }

  /**
   * Marks a control change about the user, such as a new role, as read: the notifications of it close.
   * @param {Chat} chat without unread messages
   * @param {number[]} visible the first and the last row on the screen
   */
  #readControl(chat, [first = 0, last = -1]) {
    const { chats, sending } = this.#app;
    const me = chats.me.user_id;
    const shown = this.#messages.slice(this.#part.start + first, this.#part.start + last + 1);
    const about = shown.findLast(({ sender_id, control }) => control && sender_id !== me && concerns(control, me));
    const isAbove = about && compareIds(about.message_id, marksOf(chat, me).read_up_to) > 0;
    if (isAbove) sending.markRead(this.#chat_id, about.message_id);
  }

  // ---- around the messages

  #top() {
    const { phase, hasOlder, older } = this.#loaded;
    const isEmpty = this.#messages.length === 0;
    const isFailed = phase === "failed" || older === "failed" || this.#loaded.newer === "failed";
    const isWaiting = !this.#isOpened || hasOlder || this.#part.start > 0;
    const face = isFailed ? "failed" : isWaiting ? "waiting" : isEmpty ? "empty" : "beginning";
    const name = this.#app.chats.titleOf(this.#chat_id);
    const isLoading = phase === "loading" || older === "loading";
    const props = { class: `top ${face}`, key: "top", "aria-hidden": face === "waiting" && !isLoading && "true" };
    const beginning = this.#beginning(name);
    return memo("top", [face, name, beginning, isLoading], () => h("div", props, this.#topFace(face, name, beginning)));
  }

  /** @param {string} face @param {string} name @param {string} beginning */
  #topFace(face, name, beginning) {
    if (face === "failed")
      return failure(texts.messages.notLoaded, () => void this.#app.chats.openAgain());
    if (face === "waiting") return skeletonMessages();
    if (face === "empty") return emptyState(
        texts.messages.none,
        name ? texts.messages.sayHello(name) : texts.messages.sayHelloToUnknown,
      );
    return h("p", { class: "beginning" }, beginning);
  }

  /** @param {string} name */
  #beginning(name) {
    const { began, beganWithUnknown, groupBegan, beganBefore } = texts.messages;
    if (!isGroup(this.#chat_id)) return name ? began(name) : beganWithUnknown;
    const isCreation = this.#messages[0]?.control?.version === "1";
    return isCreation ? groupBegan(name) : beganBefore;
  }

  #pill() {
    const count = this.#arrived;
    const words = count ? texts.messages.arrived(count) : texts.messages.toNewest;
    const props = {
      ...{ key: "pill", class: count ? "pill news" : "pill", type: "button", hidden: !count && !this.#isFarUp },
      onclick: () => void this.toBottom(),
    };
    return memo("pill", [props.hidden, words], () => h("button", props, icon("down"), h("span", {}, words)));
  }

  /** Leads to unread messages above the view: they stay unread until they were on the screen. */
  #unreadBar() {
    const button = { class: "text-button", type: "button" };
    return (
      this.#isUnreadAbove &&
      memo("unread-bar", [], () =>
        h(
          "div",
          { class: "unread-bar", role: "status" },
          h("button", { ...button, onclick: () => void this.#toUnread() }, texts.messages.unreadAbove),
          h("button", { ...button, onclick: () => this.#readAll() }, texts.messages.markAsRead),
        ),
      )
    );
  }

  // ---- the keyboard and the pointer

  /** @param {EventTarget | null} target that has the focus now */
  #focusMoved(target) {
    const isAbove = target instanceof Element && target.closest("[popover], dialog"); // the focus comes back from there
    if (isAbove || keyAt(target) === this.#focused) return;
    this.#focused = keyAt(target);
    this.#app.root.invalidate();
  }

  /** @param {EventTarget | null} target that is under the pointer now */
  #pointerMoved(target) {
    if (keyAt(target) === this.#pointed) return;
    this.#pointed = keyAt(target);
    this.#app.root.invalidate();
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    const items = this.#items;
    const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    if (event.target === this.#scroller && event.key === "ArrowUp") {
      event.preventDefault();
      items.at(-1)?.focus();
    } else if (at >= 0 && event.key === "Enter") {
      event.preventDefault();
      this.#app.root.render(); // with the buttons of the message
      /** @type {HTMLElement | null | undefined} */ (items[at]?.querySelector(".aside .icon-button"))?.click();
    } else if (at >= 0) {
      moveFocus(event, items);
    }
  }
}

/** The key of the message around an element; empty outside of messages. @param {EventTarget | null} target */
const keyAt = (target) =>
  (target instanceof Element && target.closest("rookery-message")?.getAttribute("data-key")) || "";

/** A line between messages. @param {string} key @param {string} look @param {string} words */
const mark = (key, look, words) =>
  memo(key, [words], () => h("div", { class: look, role: "listitem" }, h("span", {}, words)));
