// Search results while the user types: loaded chats at once, and people from the server a moment later.

import { NoResponse } from "../api.js";
import { directChatId } from "../chats.js";
import { Client } from "../client.js";
import { Component, h, moveFocus } from "../dom.js";
import { displayName, userName } from "../format.js";
import { avatar, showAvatar } from "./avatar.js";
import { textButton } from "./buttons.js";
import { emptyState, failure, skeletonRows } from "./empty.js";

/** @import {Profile} from "../types.js" */

/** The pause in typing after which the request is sent. */
const PAUSE_MS = 200;

export class PeopleSearch extends Component {
  #chats = h("div");
  #people = h("div", { "aria-live": "polite" });
  /** Rises with each search, so that a late response to an older one is ignored. */
  #search = 0;

  /** @param {Client} client @param {(chat_id: string) => void} open */
  constructor(client, open) {
    super();
    this.client = client;
    this.open = open;
    this.hidden = true;
  }

  /** @override */
  connected() {
    this.className = "scroller";
    this.replaceChildren(this.#chats, this.#people);
    this.listen(this, "keydown", (event) => moveFocus(event, this.#rows()));
  }

  /** @param {string} text an empty one ends the search */
  find(text) {
    const search = ++this.#search;
    this.hidden = text === "";
    const chats = this.#chatsWith(text.toLowerCase());
    this.#chats.replaceChildren(
      ...section(
        "Chats",
        chats.map((profile) => this.#row(profile)),
      ),
    );
    if (!text) return this.#people.replaceChildren();
    if (!this.#people.querySelector(".row")) this.#people.replaceChildren(skeletonRows(3));
    setTimeout(() => search === this.#search && void this.#searchPeople(text, search), PAUSE_MS);
  }

  focusFirst() {
    this.#rows()[0]?.focus();
  }

  chooseFirst() {
    this.#rows()[0]?.click();
  }

  /** Words in any order, as the server finds people. @param {string} text */
  #chatsWith(text) {
    const words = text.split(/\s+/).map((word) => word.replace(/^@+/, ""));
    const profiles = this.client.chats.all.map((chat) => this.client.partner(chat.chat_id));
    const matching = profiles.filter((profile) => {
      const names = profile && `${displayName(profile)} ${profile.name}`.toLowerCase();
      return names && words.every((word) => names.includes(word));
    });
    return /** @type {Profile[]} */ (matching);
  }

  /** @param {string} text @param {number} search */
  async #searchPeople(text, search) {
    try {
      const { profiles } = await this.client.api.findPeople(text);
      if (search === this.#search) this.#showPeople(text, profiles);
    } catch (fault) {
      if (search !== this.#search) return;
      const words = fault instanceof NoResponse ? "The server does not respond." : "The search failed.";
      this.#people.replaceChildren(failure(words, () => void this.find(text)));
    }
  }

  /** @param {string} text @param {Profile[]} profiles */
  #showPeople(text, profiles) {
    const inChats = new Set(this.#chatsWith(text.toLowerCase()).map((profile) => profile.user_id));
    const others = profiles.filter(({ user_id }) => user_id !== this.client.me.user_id && !inChats.has(user_id));
    this.client.profiles.put(others);
    if (others.length)
      this.#people.replaceChildren(
        ...section(
          "People",
          others.map((profile) => this.#row(profile)),
        ),
      );
    else if (inChats.size) this.#people.replaceChildren();
    else if (profiles.length)
      this.#people.replaceChildren(emptyState("This is you", `Nobody else has a name with “${text}”.`));
    else this.#people.replaceChildren(emptyState("Nobody found", `Nobody has a name with “${text}”.`));
  }

  /** @param {Profile} profile */
  #row(profile) {
    const chat_id = directChatId(this.client.me.user_id, profile.user_id);
    const picture = avatar();
    showAvatar(picture, profile);
    const words = [
      h("span", { class: "name" }, displayName(profile)),
      h("span", { class: "preview" }, userName(profile)),
    ];
    return textButton("row", () => this.open(chat_id), picture, ...words);
  }

  #rows() {
    return /** @type {HTMLElement[]} */ ([...this.querySelectorAll("button.row")]);
  }
}

/** @param {string} title @param {HTMLElement[]} rows */
function section(title, rows) {
  return rows.length ? [h("h2", { class: "section" }, title), ...rows] : [];
}

customElements.define("rookery-people-search", PeopleSearch);
