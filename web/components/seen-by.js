// Who has read a message of a group. In large groups, others' marks do not arrive live, so the list is read again while it
// is open.

import { compareIds } from "../ids.js";
import { dialogTexts } from "../languages/dialogs.js";
import { h, memo } from "../view.js";
import { emptyState, failure, skeletonRows } from "./empty.js";
import { memberRow } from "./group-members.js";
import { Growing } from "./incremental-list.js";
import { Modal } from "./modal.js";

/** @import {App} from "./app-shell.js" */
/** @import {Message} from "../types.js" */
/** @import {ListMarksResponse} from "../wire.js" */

/** The pause between two requests. */
const REFRESH_MS = 5_000;
/** The server returns this many marks at most. */
const MOST = 1_000;

export class SeenBy extends Modal {
  #app;
  #message;
  #growing = new Growing(this);
  /** Who has read it, the newest marks first; null until they are loaded. @type {readonly string[] | null} */
  #readers = null;
  #hasFailed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {App} app @param {Message} message of a group */
  constructor(app, message) {
    super(dialogTexts.groupSeen.title, () => this.#content());
    this.#app = app;
    this.#message = message;
    this.element.classList.add("seen-by");
    this.element.addEventListener("close", () => clearTimeout(this.#timer));
    this.follow(app.chats);
  }

  /** @override */
  open() {
    super.open();
    void this.#load();
  }

  /** Reads the marks again and again while it is on the page, which the end of the sign-in takes away; a hidden page waits. */
  async #load() {
    clearTimeout(this.#timer);
    this.#hasFailed = false;
    this.root.invalidate();
    if (document.visibilityState === "visible" || !this.#readers) await this.#read();
    if (this.element.isConnected) this.#timer = setTimeout(() => void this.#load(), REFRESH_MS);
    this.root.invalidate();
  }

  async #read() {
    const { chat_id, message_id, sender_id } = this.#message;
    try {
      const path = `/v1/chats/${encodeURIComponent(chat_id)}/marks?from_id=${message_id}`;
      /** @type {ListMarksResponse} the marks at this message or a later one */
      const { marks = [] } = await this.#app.api.signedIn("GET", path);
      const read = marks.filter(({ read_up_to = "0" }) => compareIds(read_up_to, message_id) >= 0);
      this.#readers = read.flatMap(({ user_id = "" }) => (user_id === sender_id ? [] : [user_id]));
    } catch {
      this.#hasFailed = !this.#readers; // a list that is some seconds old stays
    }
  }

  #content() {
    const { notLoaded, none, noneHint, hidden, hiddenHint, most, count } = dialogTexts.groupSeen;
    const readers = this.#readers;
    if (this.#app.chats.me.shows_read_marks === false) return emptyState(hidden, hiddenHint);
    if (this.#hasFailed) return failure(notLoaded, () => void this.#load());
    if (!readers) return memo("waiting", [], () => skeletonRows(3));
    if (!readers.length) return emptyState(none, noneHint);
    const words = readers.length >= MOST ? most(MOST) : count(readers.length);
    return [
      h("p", { class: "note", role: "status", key: "count" }, words),
      h("ul", { class: "list members", role: "list", key: "list" }, this.#growing.part(readers).map((user_id) => this.#row(user_id))),
    ];
  }

  /** @param {string} user_id */
  #row(user_id) {
    const { me, profiles } = this.#app.chats;
    const profile = profiles.get(user_id);
    return memo(user_id, [profile], () => h("li", { class: "row" }, memberRow(profile, user_id === me.user_id)));
  }
}
