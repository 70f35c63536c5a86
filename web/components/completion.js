// Completes the typed part of a text field: a list above the field, of emoji for a shortcode such as `:tada:`, and of
// members after `@`. The focus stays in the field. Loaded when `:` or `@` is first typed.

import { may } from "../groups.js";
import { isGroup } from "../ids.js";
import { mentionAtEnd } from "../mentioning.js";
import { h } from "../view.js";
import { EmojiSource } from "./emoji-source.js";
import { insert } from "./insert.js";
import { offerMembers } from "./member-source.js";

/** @import {App} from "./app-shell.js" */
/** @import {Children} from "../view.js" */

/**
 * A source of completions for the text before the caret.
 * @typedef {object} Offer
 * @property {string} label of the list
 * @property {number} start of the part of the text that a choice replaces
 * @property {readonly Choice[]} choices
 * @property {Choice} [complete] is accepted at once: the typed text names it
 */
/** @typedef {{key: string, content: Children, text: string, chosen?: () => void}} Choice */

/** The pause in typing after which the members of a channel are searched. */
const PAUSE_MS = 200;
const LIST = "completion";
/** @type {Offer} */
const NOTHING = { label: "", start: 0, choices: [] };

export class Completion {
  #app;
  #field;
  #root;
  #chats;
  #chat_id;
  #emoji = new EmojiSource(() => document.activeElement === this.#field && this.look());
  #offer = NOTHING;
  /** The index of the marked choice. */
  #at = 0;
  /** The caret, to which the offer belongs. */
  #end = 0;
  /** Whether the members of a group are loaded, or are being loaded. */
  #areMembersLoaded = false;
  /** The name by which members of a channel were searched last, and whether it found nobody. */
  #searched = { name: "", isVain: false };

  /** @param {HTMLTextAreaElement} field @param {App} app whose root renders the view @param {string} chat_id */
  constructor(field, app, chat_id) {
    this.#app = app;
    this.#field = field;
    this.#root = app.root;
    this.#chats = app.chats;
    this.#chat_id = chat_id;
    void this.findMentioned();
    field.addEventListener("compositionend", () => this.look());
    field.addEventListener("blur", () => this.#close());
    for (const type of ["click", "keyup"])
      field.addEventListener(type, () => field.selectionStart !== this.#end && this.#close());
    // Keyboards of phones compose every word: the list then accepts taps, but uses no keys and replaces no text.
    field.addEventListener("input", (event) => this.look(/** @type {InputEvent} */ (event).isComposing));
  }

  /** Finds the members of a channel whom the text mentions already: a draft, or an edited message. */
  async findMentioned() {
    if (!this.#chats.isChannel(this.#chat_id)) return;
    try {
      const { findMentioned } = await loadChannelMembers();
      await findMentioned(this.#app, this.#chat_id, this.#field.value);
    } catch {
      // The server is away: the names stay in the text.
    }
  }

  /** Attributes of the field, for screen readers. */
  get attributes() {
    if (this.#offer.choices.length === 0) return {};
    return { "aria-autocomplete": "list", "aria-controls": LIST, "aria-activedescendant": `${LIST}-${this.#at}` };
  }

  view() {
    const { label, choices } = this.#offer;
    if (choices.length === 0) return null;
    this.#root.after(() => document.getElementById(`${LIST}-${this.#at}`)?.scrollIntoView({ block: "nearest" }));
    return h(
      "div",
      { class: "completion", id: LIST, role: "listbox", "aria-label": label, key: "completion" },
      choices.map((choice, at) => this.#option(choice, at)),
    );
  }

  /** @param {Choice} choice @param {number} at */
  #option(choice, at) {
    const option = { role: "option", id: `${LIST}-${at}`, "aria-selected": String(at === this.#at) };
    const press = {
      onmousedown: (/** @type {Event} */ event) => event.preventDefault(), // the focus stays in the field
      onclick: () => this.#accept(choice),
    };
    return h("div", { ...option, ...press, key: choice.key }, choice.content);
  }

  /** Whether the list is open and has used the key. @param {KeyboardEvent} event */
  keyPressed(event) {
    const { choices } = this.#offer;
    const marked = choices[this.#at];
    if (!marked) return false;
    if (event.shiftKey || event.ctrlKey || event.metaKey || event.altKey) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) this.#at = (this.#at + step + choices.length) % choices.length;
    else if (event.key === "Enter" || event.key === "Tab") this.#accept(marked);
    else if (event.key === "Escape") this.#close();
    else return false;
    event.preventDefault();
    this.#root.invalidate();
    return true;
  }

  /** Looks for something to complete before the caret. @param {boolean} [isComposing] */
  look(isComposing = false) {
    const { value, selectionStart: end, selectionEnd } = this.#field;
    const before = value.slice(0, end);
    const offer = end === selectionEnd ? (this.#emoji.offer(before) ?? this.#members(before)) : null;
    if (!offer) return this.#close();
    [this.#offer, this.#end, this.#at] = [offer, end, 0];
    if (offer.complete && !isComposing) return this.#accept(offer.complete);
    this.#root.invalidate();
  }

  /** @param {string} before the caret */
  #members(before) {
    if (!before.includes("@")) return null;
    if (this.#chats.isChannel(this.#chat_id)) void this.#find(mentionAtEnd(before)?.typed ?? "");
    else if (!this.#areMembersLoaded) void this.#loadMembers();
    const mayMentionEveryone = may(this.#chats.of(this.#chat_id), "MENTION_EVERYONE");
    return offerMembers(before, this.#chats.members(this.#chat_id), mayMentionEveryone);
  }

  async #loadMembers() {
    this.#areMembersLoaded = true;
    await this.#chats.loadMembers(this.#chat_id);
    this.#areMembersLoaded = !isGroup(this.#chat_id) || this.#chats.rosters.of(this.#chat_id).phase === "ready";
    if (!this.#areMembersLoaded) return; // the next letter loads them
    if (document.activeElement === this.#field) this.look();
  }

  /** Searches members of a channel, unless that is in vain. @param {string} name */
  async #find(name) {
    const { name: before, isVain } = this.#searched;
    if (!name || name === before || (isVain && name.startsWith(before))) return;
    this.#searched = { name, isVain: false };
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    if (this.#searched.name !== name) return;
    const found = loadChannelMembers().then(({ membersNamed }) => membersNamed(this.#app, this.#chat_id, name));
    const page = await found.catch(() => null); // null: the server is away
    if (this.#searched.name !== name || !page) return;
    this.#searched.isVain = !page.profiles.length && !page.next_cursor;
    if (page.profiles.length && document.activeElement === this.#field) this.look();
  }

  /** @param {Choice} choice */
  #accept({ text, chosen }) {
    const { start } = this.#offer;
    this.#close();
    chosen?.();
    this.#field.setSelectionRange(start, this.#end);
    insert(this.#field, text);
  }

  #close() {
    const isOpen = this.#offer.choices.length > 0;
    this.#offer = NOTHING;
    if (isOpen) this.#root.invalidate();
  }
}

const loadChannelMembers = () => import("../stores/channel-members.js");
