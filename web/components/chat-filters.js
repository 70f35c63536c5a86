// The filters above the list of chats.

import { isGroup } from "../ids.js";
import { texts } from "../languages/language.js";
import { h } from "../view.js";

/** @import {Chat} from "../types.js" */

/** @typedef {keyof typeof texts.chats.filters} Filter */

/**
 * @param {Pick<Chat, "chat_id" | "unread_mentions">} chat
 * @param {Filter} filter
 * @param {boolean} isUnread whether the chat has unread messages, or is marked as unread
 */
export function isShown({ chat_id, unread_mentions }, filter, isUnread) {
  return { all: true, unread: isUnread, mentions: unread_mentions > 0, groups: isGroup(chat_id) }[filter];
}

export class ChatFilters {
  /** @type {Filter} */
  chosen = "all";
  #changed;

  /** @param {() => void} changed called when another one is chosen */
  constructor(changed) {
    this.#changed = changed;
  }

  view() {
    const { filter, filters } = texts.chats;
    const names = /** @type {Filter[]} */ (Object.keys(filters));
    return h("div", { class: "filters", role: "group", "aria-label": filter, key: "filters" }, names.map((name) => this.#button(name)));
  }

  /** @param {Filter} name */
  #button(name) {
    const onclick = () => {
      this.chosen = name;
      this.#changed();
    };
    const pressed = String(name === this.chosen);
    return h("button", { type: "button", key: name, "aria-pressed": pressed, onclick }, texts.chats.filters[name]);
  }
}
