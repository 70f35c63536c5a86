// The marks of the members of the open group. They are read when it is opened, in each new session and after a gap, since
// signals may be lost; in between, signals bring them.

import { showsRead } from "../groups.js";
import { fromMark } from "../kinds/marked.js";

/** @import {Api} from "../api.js" */
/** @import {Chats} from "./chats.js" */
/** @import {Sync} from "./sync.js" */
/** @import {ListMarksResponse} from "../wire.js" */
/** @typedef {{api: Pick<Api, "signedIn">, chats: Chats, sync: Sync}} Source */

export class GroupMarks {
  #source;
  #chat_id;
  #ends;
  /** Whether the page shows how far the members have read. */
  #isShown = false;

  /** @param {Source} source @param {string} chat_id of the open group */
  constructor(source, chat_id) {
    this.#source = source;
    this.#chat_id = chat_id;
    const { chats, sync } = source;
    sync.onGroupMarks = (marks) => (marks ? this.#apply(marks) : void this.#load());
    this.#ends = [chats, sync].map((store) => store.subscribe(() => this.#follow()));
    this.#follow();
  }

  /** The group is closed. */
  stop() {
    this.#source.sync.onGroupMarks = () => {};
    for (const end of this.#ends) end();
  }

  #follow() {
    const { chats, sync } = this.#source;
    const wasShown = this.#isShown;
    this.#isShown = showsRead(chats.of(this.#chat_id)) && sync.isOnline && chats.me.shows_read_marks !== false;
    if (!wasShown) void this.#load();
  }

  async #load() {
    const { api, chats } = this.#source;
    if (!this.#isShown) return;
    void chats.rosters.load(this.#chat_id);
    try {
      this.#apply(await api.signedIn("GET", `/v1/chats/${encodeURIComponent(this.#chat_id)}/marks`));
    } catch {
      // The server is away: the next session reads them.
    }
  }

  /** @param {ListMarksResponse & {chat_id?: string}} marks */
  #apply({ chat_id = this.#chat_id, marks = [] }) {
    if (chat_id !== this.#chat_id) return;
    for (const mark of marks) this.#source.chats.change(fromMark(chat_id, mark));
  }
}
