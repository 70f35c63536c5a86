// The left pane: the user's chats, newest first, and the search for people and chats.

import { Client } from "../client.js";
import { Component, h, moveFocus, reconcile, setAttribute, setText, soon } from "../dom.js";
import { displayName, fullTime, shortTime, unreadLabel } from "../format.js";
import { mark } from "../icons.js";
import { avatar, showAvatar } from "./avatar.js";
import { iconButton } from "./buttons.js";
import { emptyState, failure, skeletonRows } from "./empty.js";
import { menuButton } from "./menu.js";
import { ChangePassword, OwnProfile } from "./profile-dialogs.js";
import { PeopleSearch } from "./people-search.js";
import { searchBox } from "./search-box.js";

/** @import {Chat} from "../types.js" */

/** The next page is fetched when this many screens of the list are left to scroll. */
const SCREENS_AHEAD = 1;
/** How often relative times such as "Mon" are rendered again. */
const MINUTE_MS = 60_000;

/** @typedef {{open: (chat_id: string) => void, signOut: () => Promise<void>}} Shell */

export class ChatList extends Component {
  #search = searchBox("Search people and chats");
  #input = this.#search.input;
  #list = h("ul", { class: "list", "aria-label": "Chats" });
  #state = h("div");
  #scroller = h("div", { class: "scroller" }, this.#list, this.#state);
  #results;

  /** @param {Client} client @param {Shell} shell */
  constructor(client, shell) {
    super();
    this.client = client;
    this.shell = shell;
    this.#results = new PeopleSearch(client, (chat_id) => this.#open(chat_id));
  }

  /** @override */
  connected() {
    this.className = "pane-list";
    const write = iconButton("New chat", "write", () => this.search(), { title: "New chat (Ctrl K)" });
    const brand = h("h1", { class: "brand" }, mark(), "Rookery");
    const navigation = h("nav", { "aria-label": "Chats" }, this.#scroller, this.#results);
    this.replaceChildren(h("header", { class: "bar" }, brand, write, this.#menu()), this.#search.element, navigation);
    this.#listenToPeople();
    const render = soon(() => this.render());
    for (const type of ["chats", "typing"]) this.listen(this.client, type, render);
    this.listen(this.client.profiles, "change", render);
    const clock = setInterval(render, MINUTE_MS);
    this.listen(this.client, "signed-out", () => clearInterval(clock));
    this.render();
  }

  /** Moves the focus to the search. */
  search() {
    this.#input.focus();
    this.#input.select();
  }

  /** @param {string} chat_id */
  focusChat(chat_id) {
    const row = /** @type {HTMLElement | undefined} */ (
      this.#rows().find((element) => element.dataset["chat"] === chat_id)
    );
    (row ?? this.#input).focus();
  }

  render() {
    reconcile(this.#list, this.client.chats.all, {
      key: (chat) => chat.chat_id,
      make: (chat) => new ChatRow(chat.chat_id, () => this.shell.open(chat.chat_id)),
      update: (row, chat) => row.show(this.client, chat),
    });
    this.#showState();
  }

  #showState() {
    const kind = this.client.chatsPhase === "ready" && this.client.chats.all.length ? "" : this.client.chatsPhase;
    if (this.#state.dataset["kind"] === kind) return;
    this.#state.dataset["kind"] = kind;
    this.#state.replaceChildren(...this.#stateFaces(kind));
  }

  /** @param {string} kind */
  #stateFaces(kind) {
    if (kind === "loading") return [skeletonRows(7)];
    if (kind === "failed") return [failure("Your chats could not be loaded.", () => void this.client.loadChats())];
    if (kind === "ready") return [emptyState("No chats yet", "Search for someone by name and say hello.")];
    return [];
  }

  #menu() {
    return menuButton("Menu", () => [
      { label: "Your profile", choose: () => new OwnProfile(this.client).open() },
      { label: "Change password", choose: () => new ChangePassword(this.client).open() },
      ...(this.client.me.is_admin ? [{ label: "Admin", href: "/admin" }] : []),
      { label: "Sign out", choose: () => void this.#signOut() },
    ]);
  }

  async #signOut() {
    const unsent = this.client.outbox.size;
    const unsentText = unsent === 1 ? "One message is" : `${unsent} messages are`;
    const question = `${unsentText} not sent yet and will be lost. Sign out?`;
    if (!unsent || confirm(question)) await this.shell.signOut();
  }

  #listenToPeople() {
    this.listen(this.#input, "input", () => this.#find());
    this.listen(this.#input, "keydown", (event) => this.#keyInSearch(event));
    this.listen(this.#scroller, "keydown", (event) => moveFocus(event, this.#rows()));
    this.listen(this.#scroller, "scroll", () => this.#scrolled());
  }

  #find() {
    const text = this.#input.value.trim();
    this.#scroller.hidden = text !== "";
    this.#results.find(text);
  }

  /** @param {KeyboardEvent} event */
  #keyInSearch(event) {
    if (event.key === "Escape" && this.#input.value) {
      event.preventDefault();
      this.#clear();
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      if (this.#scroller.hidden) this.#results.focusFirst();
      else this.#rows()[0]?.focus();
    } else if (event.key === "Enter") {
      this.#results.chooseFirst();
    }
  }

  #clear() {
    this.#input.value = "";
    this.#find();
  }

  /** @param {string} chat_id */
  #open(chat_id) {
    this.#clear();
    this.shell.open(chat_id);
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    if (scrollHeight - scrollTop - clientHeight < SCREENS_AHEAD * clientHeight) void this.client.loadMoreChats();
  }

  #rows() {
    return /** @type {HTMLElement[]} */ ([...this.#list.querySelectorAll("button")]);
  }
}

class ChatRow extends HTMLElement {
  #avatar = avatar();
  #name = h("span", { class: "name" });
  #time = h("time");
  #preview = h("span", { class: "preview" });
  #badge = h("span", { class: "badge" });
  #button;

  /** @param {string} chat_id @param {() => void} open */
  constructor(chat_id, open) {
    super();
    this.setAttribute("role", "listitem");
    const parts = [this.#avatar, this.#name, this.#time, this.#preview, this.#badge];
    this.#button = h("button", { class: "row", type: "button", "data-chat": chat_id, onclick: open }, ...parts);
    this.append(this.#button);
  }

  /** @param {Client} client @param {Chat} chat */
  show(client, chat) {
    const profile = client.partner(chat.chat_id);
    const typing = client.typing.isShown(chat.chat_id);
    showAvatar(this.#avatar, profile);
    setText(this.#name, profile ? displayName(profile) : " ");
    this.#showTime(chat.newest?.at_ms ?? 0);
    setText(this.#preview, typing ? "typing…" : preview(chat, client.me.user_id));
    this.#preview.classList.toggle("typing", typing);
    this.#showUnread(chat.unread);
    setAttribute(this.#button, "aria-current", chat.chat_id === client.openChat ? "true" : null);
  }

  /** @param {number} at_ms */
  #showTime(at_ms) {
    setText(this.#time, shortTime(at_ms, Date.now()));
    this.#time.dateTime = new Date(at_ms).toISOString();
    this.#time.title = fullTime(at_ms);
  }

  /** @param {number} unread */
  #showUnread(unread) {
    this.#badge.hidden = unread === 0;
    if (unread) this.#badge.replaceChildren(unreadLabel(unread), h("span", { class: "unseen" }, " unread"));
    else this.#badge.replaceChildren();
  }
}

/** @param {Chat} chat @param {string} me */
function preview({ newest }, me) {
  if (!newest) return "";
  return newest.sender_id === me ? `You: ${newest.body}` : newest.body;
}

customElements.define("rookery-chat-list", ChatList);
customElements.define("rookery-chat-row", ChatRow);
