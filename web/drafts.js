// Unsent texts by chat, kept across reloads and shared by the tabs of a browser: at most `MAX_DRAFTS` texts of
// `MAX_LENGTH` characters.

import { Outbox } from "./outbox.js";
import { Kept } from "./stores/kept.js";
import { bodyOf } from "./writing.js";

/** If there are more drafts, the ones that changed longest ago are dropped. */
export const MAX_DRAFTS = 500;
/** Only the start of a longer text is kept: enough for several messages. */
export const MAX_LENGTH = 100_000;

/** @typedef {Pick<BroadcastChannel, "postMessage" | "close" | "onmessage">} Channel */
/** @typedef {{chat_id: string, text: string, before: string}} Change of a draft, in another tab */
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
    for (const [chat_id] of kept.all("draft"))
      if (outbox.of(chat_id).some(({ body }) => body === bodyOf(this.get(chat_id)))) this.keep(chat_id, "");
  }

  /** @param {string} chat_id */
  get(chat_id) {
    const text = this.#kept.get("draft", chat_id);
    return typeof text === "string" ? text : "";
  }

  /** The chats with a draft, the last changed draft at the end. */
  get chats() {
    return this.#kept.all("draft").map(([chat_id]) => chat_id);
  }

  /** @param {string} chat_id @param {string} text an empty text deletes the draft */
  keep(chat_id, text) {
    const before = this.get(chat_id);
    if (text) void this.#kept.put("draft", chat_id, text.slice(0, MAX_LENGTH));
    else if (before) void this.#kept.remove("draft", chat_id);
    this.#channel?.postMessage({ chat_id, text: this.get(chat_id), before });
    for (const dropped of this.chats.slice(0, -MAX_DRAFTS)) void this.#kept.remove("draft", dropped);
  }
  /** Sends changes to the other tabs of this user, and follows theirs. @param {Channel} channel @param {AbortSignal} end */
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
    this.#kept.follow("draft", chat_id, text || undefined);
  }
}

/**
 * Whether a text of another tab may replace the text of a field: no keystroke may be lost. Keystrokes are in the other
 * text too if it was written in place of this one.
 * @param {{text: string, isFocused: boolean, isOwn: boolean}} field isOwn: the person wrote in this tab
 * @param {Change} change
 */
export const mayReplace = ({ text, isFocused, isOwn }, { before }) =>
  !text || (!isFocused && (!isOwn || text === before));
