// Unsent texts and their files by chat, kept across reloads: at most `MAX_DRAFTS` chats, with texts of `MAX_LENGTH`
// characters. The tabs of a browser share the texts and the files; `files/attached.js` keeps the bytes.

import { Outbox } from "./outbox.js";
import { Kept } from "./stores/kept.js";

/** @import {Draft, MessageFile} from "./types.js" */

/** If there are more drafts, the ones that changed longest ago are dropped. */
export const MAX_DRAFTS = 500;
/** Only the start of a longer text is kept: enough for several messages. */
export const MAX_LENGTH = 100_000;
/** @type {Draft} */
const NONE = { text: "", reply_to: "", editing: null, files: [] };

/** @typedef {Pick<BroadcastChannel, "postMessage" | "close" | "onmessage">} Channel */
/** @typedef {readonly MessageFile[]} Files */
/**
 * A change of a draft in another tab: of its text, or of its files, which had been `had` there.
 * @typedef {{chat_id: string, text: string, before: string, files?: Files, had?: Files}} Change
 */
/**
 * The text field of the open chat. It shows a text of another tab only if it accepts the change, and removes a piece that
 * has become a message.
 * @typedef {object} Field
 * @property {string} chat_id
 * @property {(change: Change) => boolean} accepts
 * @property {(text: string) => void} show
 * @property {(piece: Piece) => void} remove
 */
/** @typedef {{text: string}} Piece the text of a message */
/**
 * The messages that are leaving a draft. `pieces` are the texts at its start that are being kept in the outbox; `kept`
 * resolves when each message that was sent before is kept or has failed: files may take longer than a text after them.
 * @typedef {{pieces: Piece[], kept: Promise<unknown>}} Leaving
 */

/** The message in a text: without empty lines above and white space below. @param {string} text */
export const bodyOf = (text) => text.replace(/^(?:\s*\n)?/, "").trimEnd();

export class Drafts {
  /** @type {Field | null} */
  field = null;
  #kept;
  /** By chat_id. @type {Map<string, Leaving>} */
  #leaving = new Map();
  /** @type {Channel | null} */
  #channel = null;

  /** @param {Kept} kept @param {Outbox} outbox a draft that became a message just before the page closed is dropped */
  constructor(kept, outbox) {
    this.#kept = kept;
    for (const chat_id of this.chats) {
      const { text } = this.get(chat_id);
      if (text && outbox.of(chat_id).some(({ body }) => body === bodyOf(text))) this.keep(chat_id, { text: "", reply_to: "" });
    }
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

  /** The same object for all composers of a chat: it may be left, and opened again, meanwhile. @param {string} chat_id */
  leaving(chat_id) {
    const leaving = this.#leaving.get(chat_id) ?? { pieces: [], kept: Promise.resolve() };
    this.#leaving.set(chat_id, leaving);
    return leaving;
  }

  /** The number of messages that are leaving drafts, and are not kept yet. */
  get leavingCount() {
    return [...this.#leaving.values()].reduce((sum, { pieces }) => sum + pieces.length, 0);
  }

  /**
   * Keeps a message of a chat after the messages that were sent before. Returns when it is kept, with the result of `keep`.
   * @template T
   * @param {string} chat_id
   * @param {() => Promise<T>} keep
   * @returns {Promise<T>}
   */
  keepNext(chat_id, keep) {
    const leaving = this.leaving(chat_id);
    const kept = leaving.kept.then(keep);
    leaving.kept = kept.catch(() => {}); // a failure is the caller's, and holds up no later message
    return kept;
  }

  /** Changes parts of a draft; an empty one is deleted. @param {string} chat_id @param {Partial<Draft>} change */
  keep(chat_id, change) {
    const before = this.get(chat_id);
    const value = toKept({ ...before, ...change });
    if (value) void this.#kept.put("draft", chat_id, value);
    else if (before !== NONE) void this.#kept.remove("draft", chat_id);
    const { text, files } = this.get(chat_id);
    const ofFiles = files !== before.files && { files, had: before.files };
    if (text !== before.text || ofFiles) this.#channel?.postMessage({ chat_id, text, before: before.text, ...ofFiles });
    for (const dropped of this.chats.slice(0, -MAX_DRAFTS)) void this.#kept.remove("draft", dropped);
  }

  /** Sends changes to the other tabs of this user, and follows theirs. @param {Channel} channel @param {AbortSignal} end */
  share(channel, end) {
    this.#channel = channel;
    channel.onmessage = ({ data }) => this.#receive(data);
    end.addEventListener("abort", () => {
      this.#channel = null;
      channel.close();
    });
  }

  /** @param {Change} change */
  #receive(change) {
    const { chat_id, text, before, files, had = [] } = change;
    const field = this.field?.chat_id === chat_id ? this.field : null;
    const draft = { ...this.get(chat_id) };
    const isTaken = text !== before && (!field || field.accepts(change));
    if (isTaken) field?.show(text);
    if (isTaken) draft.text = text;
    if (files) draft.files = merged(draft.files, had, files);
    if (isTaken || files) this.#kept.follow("draft", chat_id, toKept(draft));
  }
}

/** The value to keep: a text alone as a string; undefined for an empty draft. @param {Draft} draft */
function toKept({ text, reply_to, editing, files }) {
  const start = text.slice(0, MAX_LENGTH);
  return reply_to || editing || files.length ? { text: start, reply_to, editing, files } : start || undefined;
}

/** The own files, with the changes that another tab has made to its own. @param {Files} own @param {Files} before @param {Files} after */
function merged(own, before, after) {
  const isIn = (/** @type {Files} */ files, /** @type {MessageFile} */ { client_file_id: id }) =>
    files.some((file) => file.client_file_id === id);
  return [
    ...after.filter((file) => isIn(own, file) || !isIn(before, file)),
    ...own.filter((file) => !isIn(before, file) && !isIn(after, file)),
  ];
}
