// Unsent texts by chat, kept across reloads: at most `MAX_DRAFTS` chats, with texts of `MAX_LENGTH` characters. The tabs
// of a browser share the texts.

import { Outbox } from "./outbox.js";
import { Kept } from "./stores/kept.js";
import { bodyOf } from "./writing.js";

/** @import {Draft} from "./types.js" */

/** If there are more drafts, the ones that changed longest ago are dropped. */
export const MAX_DRAFTS = 500;
/** Only the start of a longer text is kept: enough for several messages. */
export const MAX_LENGTH = 100_000;
/** @type {Draft} */
const NONE = { text: "", reply_to: "", editing: null };

/** @typedef {Pick<BroadcastChannel, "postMessage" | "close" | "onmessage">} Channel */
/** @typedef {{chat_id: string, text: string, before: string}} Change of the text of a draft, in another tab */
/**
 * The text field of the open chat. It shows a text of another tab only if it accepts the change.
 * @typedef {{chat_id: string, accepts: (change: Change) => boolean, show: (text: string) => void}} Field
 */

export class Drafts {
  /** @type {Field | null} */
  field = null;
  #kept;
  /** @type {Channel | null} */
  #channel = null;

  /** @param {Kept} kept @param {Outbox} outbox a draft that became a message just before the page closed is dropped */
  constructor(kept, outbox) {
    this.#kept = kept;
    for (const chat_id of this.chats)
      if (outbox.of(chat_id).some(({ body }) => body === bodyOf(this.get(chat_id).text)))
        this.keep(chat_id, { text: "", reply_to: "" });
  }

  /** @param {string} chat_id @returns {Draft} */
  get(chat_id) {
    const value = /** @type {any} */ (this.#kept.get("draft", chat_id));
    const draft = typeof value === "string" ? { text: value } : value; // a text alone is kept as a string
    return typeof draft?.text === "string" ? { ...NONE, ...draft } : NONE;
  }

  /** The chats with a draft, the last changed draft at the end. */
  get chats() {
    return this.#kept.all("draft").map(([chat_id]) => chat_id);
  }

  /** Changes parts of a draft; an empty one is deleted. @param {string} chat_id @param {Partial<Draft>} change */
  keep(chat_id, change) {
    const before = this.get(chat_id);
    const value = toKept({ ...before, ...change });
    if (value) void this.#kept.put("draft", chat_id, value);
    else if (before !== NONE) void this.#kept.remove("draft", chat_id);
    const { text } = this.get(chat_id);
    if (text !== before.text) this.#channel?.postMessage({ chat_id, text, before: before.text });
    for (const dropped of this.chats.slice(0, -MAX_DRAFTS)) void this.#kept.remove("draft", dropped);
  }

  /** Sends changes of texts to the other tabs of this user, and follows theirs. @param {Channel} channel @param {AbortSignal} end */
  share(channel, end) {
    this.#channel = channel;
    channel.onmessage = ({ data }) => this.#receive(data);
    end.addEventListener("abort", () => channel.close());
  }

  /** @param {Change} change */
  #receive(change) {
    const { chat_id, text } = change;
    const field = this.field?.chat_id === chat_id ? this.field : null;
    if (field && !field.accepts(change)) return;
    field?.show(text);
    this.#kept.follow("draft", chat_id, toKept({ ...this.get(chat_id), text }));
  }
}

/** The value to keep: a text alone as a string; undefined for an empty draft. @param {Draft} draft */
function toKept({ text, reply_to, editing }) {
  const start = text.slice(0, MAX_LENGTH);
  return reply_to || editing ? { text: start, reply_to, editing } : start || undefined;
}

/**
 * Whether a text of another tab may replace the text of a field: no keystroke may be lost. Keystrokes are in the other
 * text too if it was written in place of this one.
 * @param {{text: string, isFocused: boolean, isOwn: boolean}} field isOwn: the person wrote in this tab
 * @param {Change} change
 */
export const mayReplace = ({ text, isFocused, isOwn }, { before }) =>
  !text || (!isFocused && (!isOwn || text === before));
