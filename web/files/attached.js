// The files that are attached to drafts, in all tabs of this browser and after a reload, until they are sent.

import { isPicture, picked } from "./picked.js";
import { typeOfPicked } from "./plain-text.js";

/** @import {Bytes} from "./bytes.js" */
/** @import {Voice} from "./recorder.js" */
/** @import {sizeOfPicture} from "./picked.js" */
/** @import {Sending} from "../stores/sending.js" */
/** @import {Content, MessageFile} from "../types.js" */

/** Files in a message: the server's limit. More of them are sent in several messages. */
export const MAX_FILES = 10;
/** Files attached to a draft at most. */
export const MAX_ATTACHED = 100;
/** The files of all drafts of a user that this browser keeps, in bytes; further ones stay in memory only. */
export const MAX_DRAFT_BYTES = 256_000_000;

/**
 * An attached file.
 * @typedef {object} Attached
 * @property {MessageFile} file
 * @property {Promise<unknown>} ready resolves when its bytes are kept, if there is room, and a picture is measured
 * @property {boolean} isKept whether the draft has it, for other tabs and after a reload
 * @property {boolean} isTooMuch whether its bytes are not kept, since the files of all drafts have reached `MAX_DRAFT_BYTES`
 * @property {boolean} isLeaving whether it is becoming a part of a message; the draft has it until that is kept
 */
/**
 * Names of attached files that are not kept with the draft.
 * @typedef {object} NotKept
 * @property {string[]} tooMuch in memory: the drafts have reached `MAX_DRAFT_BYTES`
 * @property {string[]} noRoom in memory: the browser's storage is full or blocked
 * @property {string[]} lost no longer attached: the browser has lost their bytes
 */

export class AttachedFiles {
  /** The voice messages that are being recorded, or are not kept yet. @type {Set<object>} */
  voices = new Set();
  #sending;
  #bytes;
  #measurePicture;
  #changed;
  /** Of the chats that were opened in this page, by chat_id; the other drafts have only kept files. @type {Map<string, Attached[]>} */
  #attached = new Map();
  /** The names of files that a draft had, and this browser has lost, by chat_id. @type {Map<string, string[]>} */
  #lost = new Map();

  /**
   * @param {Sending} sending
   * @param {Bytes} bytes
   * @param {typeof sizeOfPicture} measurePicture
   * @param {() => void} changed is called after each change
   */
  constructor(sending, bytes, measurePicture, changed) {
    this.#sending = sending;
    this.#bytes = bytes;
    this.#measurePicture = measurePicture;
    this.#changed = changed;
    this.#dropSent();
  }

  /** Whether a file is not kept: one attached beyond the limit of all drafts' files, or a voice message. */
  get hasUnkept() {
    return this.voices.size > 0 || [...this.#attached.values()].flat().some(({ isTooMuch }) => isTooMuch);
  }

  /** The chats that were opened in this page and have attached files. */
  get chats() {
    return [...this.#attached].filter(([, attached]) => attached.length).map(([chat_id]) => chat_id);
  }

  /** The files that are attached to a chat's draft. @param {string} chat_id @returns {readonly MessageFile[]} */
  of(chat_id) {
    if (!this.#attached.has(chat_id)) return this.#sending.drafts.get(chat_id).files;
    return this.#staying(chat_id).map(({ file }) => file);
  }

  /**
   * What is on the screen at a chat's draft: also files that are leaving, which no message shows yet.
   * @param {string} chat_id after `open`
   * @returns {readonly Attached[]}
   */
  shown(chat_id) {
    const isVoice = (/** @type {Attached} */ { file }) => Boolean(file.duration_ms); // it was never attached
    return (this.#attached.get(chat_id) ?? []).filter((held) => !isVoice(held));
  }

  /** Names of the files that the draft of a chat does not keep. @param {string} chat_id @returns {NotKept} */
  notKept(chat_id) {
    const attached = this.#staying(chat_id);
    const failed = attached.filter(({ file }) => this.#bytes.isUnkept(idOf(file)));
    return {
      tooMuch: namesOf(attached.filter(({ isTooMuch }) => isTooMuch)),
      noRoom: namesOf(failed),
      lost: this.#lost.get(chat_id) ?? [],
    };
  }

  /** The draft of a chat is on the screen: loads the bytes of its files. @param {string} chat_id */
  open(chat_id) {
    if (!this.#attached.has(chat_id)) this.#follow(chat_id);
  }

  /**
   * Attaches files to a chat's draft, as far as the limits allow.
   * @param {string} chat_id
   * @param {readonly File[]} files
   * @returns {{tooLarge: File[], tooMany: number}} the files that are not attached
   */
  add(chat_id, files) {
    this.open(chat_id);
    const before = this.#attached.get(chat_id) ?? [];
    const most = this.#sending.maxFileBytes || Infinity;
    const keep_original = this.isOriginal(chat_id);
    const fitting = files.filter(({ size }) => size <= most);
    const count = Math.max(MAX_ATTACHED - this.of(chat_id).length, 0); // two tabs may have attached more
    let room = MAX_DRAFT_BYTES - this.#draftedBytes();
    const taken = fitting.slice(0, count).map((bytes) => {
      const held = this.#hold(bytes);
      if (isPicture(held.file.media_type)) held.file.keep_original = keep_original;
      held.isTooMuch = bytes.size > room;
      if (!held.isTooMuch) room -= bytes.size;
      held.ready = this.#prepare(chat_id, held, bytes);
      return held;
    });
    this.#attached.set(chat_id, [...before, ...taken]);
    this.#lost.delete(chat_id);
    this.#changed();
    return { tooLarge: files.filter(({ size }) => size > most), tooMany: fitting.length - taken.length };
  }

  /** Removes an attached file. @param {string} chat_id @param {MessageFile} file */
  remove(chat_id, file) {
    this.#lost.delete(chat_id);
    this.#remove(chat_id, (held) => held.file.client_file_id === file.client_file_id);
  }

  /** Whether the attached pictures are to keep their bytes, with the camera's data. @param {string} chat_id */
  isOriginal(chat_id) {
    return this.of(chat_id).some((file) => file.keep_original && isPicture(file.media_type));
  }

  /** @param {string} chat_id @param {boolean} keep_original for all attached pictures, and further ones */
  setOriginal(chat_id, keep_original) {
    for (const held of this.#staying(chat_id))
      if (isPicture(held.file.media_type)) held.file = { ...held.file, keep_original };
    this.#share(chat_id);
  }

  /** Returns the files that are attached to a chat's draft, and empties it. @param {string} chat_id after `open` */
  take(chat_id) {
    const attached = this.#staying(chat_id);
    for (const held of attached) held.isLeaving = true;
    this.#lost.delete(chat_id);
    this.#changed();
    return attached;
  }

  /** The attached files that are not leaving. @param {string} chat_id */
  #staying(chat_id) {
    return (this.#attached.get(chat_id) ?? []).filter(({ isLeaving }) => !isLeaving);
  }

  /** Of the files that all drafts keep, or are about to keep. */
  #draftedBytes() {
    const { drafts } = this.#sending;
    const kept = drafts.chats.flatMap((chat_id) => drafts.get(chat_id).files);
    const coming = [...this.#attached.values()].flat().filter(({ isKept, isTooMuch }) => !isKept && !isTooMuch);
    return [...kept, ...coming.map(({ file }) => file)].reduce((sum, { size }) => sum + Number(size), 0);
  }

  /** Puts the kept files into the draft, for other tabs and a later page. @param {string} chat_id */
  #share(chat_id) {
    const attached = this.#attached.get(chat_id);
    const kept = (attached ?? []).filter(({ isKept }) => isKept);
    if (attached) this.#sending.drafts.keep(chat_id, { files: kept.map(({ file }) => file) });
    this.#changed();
  }

  /** @param {string} chat_id @param {(held: Attached) => boolean} isRemoved */
  #remove(chat_id, isRemoved) {
    const attached = this.#attached.get(chat_id);
    if (attached) this.#attached.set(chat_id, attached.filter((held) => !isRemoved(held)));
    this.#share(chat_id);
  }

  /** Brings the attached files of an open chat in line with its draft, which other tabs change too. @param {string} chat_id */
  #follow(chat_id) {
    const drafted = new Map(this.#sending.drafts.get(chat_id).files.map((file) => [idOf(file), file]));
    const before = this.#attached.get(chat_id) ?? [];
    const isGone = (/** @type {Attached} */ { file, isKept, isLeaving }) => isKept && !isLeaving && !drafted.has(idOf(file));
    for (const { file } of before.filter(isGone)) this.#bytes.release(idOf(file));
    const stay = before.filter((held) => !isGone(held));
    for (const held of stay) {
      held.file = drafted.get(idOf(held.file)) ?? held.file;
      drafted.delete(idOf(held.file));
    }
    this.#attached.set(chat_id, [...stay, ...[...drafted.values()].map((file) => this.#restored(chat_id, file))]);
  }

  /** A file of a draft that an earlier page, or another tab, has kept. @param {string} chat_id @param {MessageFile} file */
  #restored(chat_id, file) {
    const held = { file, ready: Promise.resolve(), isKept: true, isTooMuch: false, isLeaving: false };
    held.ready = this.#bring(chat_id, held);
    return held;
  }

  /** @param {string} chat_id @param {Attached} held */
  async #bring(chat_id, held) {
    const id = idOf(held.file);
    if (this.#bytes.knows(id)) return;
    if (await this.#bytes.load(id)) return this.#changed();
    if (held.isLeaving) return; // its message reports it
    this.#lost.set(chat_id, [...(this.#lost.get(chat_id) ?? []), held.file.name]);
    this.#remove(chat_id, (other) => other === held);
  }

  /** Files that became messages just before the page closed leave their drafts. */
  #dropSent() {
    const { drafts, outbox } = this.#sending;
    const sent = new Set(outbox.all.flatMap(({ files = [] }) => files.map(idOf)));
    for (const chat_id of drafts.chats) {
      const { files } = drafts.get(chat_id);
      if (files.some((file) => sent.has(idOf(file)))) drafts.keep(chat_id, { files: files.filter((file) => !sent.has(idOf(file))) });
    }
  }

  /**
   * Brings the attached files in line with the drafts.
   * @param {(chat_id: string) => boolean} isClosed whether the user has left the chat: nobody can send its files
   * @returns {MessageFile[]} the files whose bytes are needed
   */
  look(isClosed) {
    const { drafts } = this.#sending;
    const withFiles = drafts.chats.filter((chat_id) => drafts.get(chat_id).files.length);
    for (const chat_id of new Set([...withFiles, ...this.chats])) if (isClosed(chat_id)) this.#discard(chat_id);
    for (const chat_id of this.#attached.keys()) this.#follow(chat_id);
    const drafted = withFiles.flatMap((chat_id) => drafts.get(chat_id).files);
    return [...drafted, ...[...this.#attached.values()].flat().map(({ file }) => file)];
  }

  /** The sign-in has ended. */
  stop() {
    this.#attached.clear();
  }

  /** @param {string} chat_id */
  #discard(chat_id) {
    for (const file of this.of(chat_id)) this.#bytes.remove(idOf(file));
    if (this.#attached.has(chat_id)) this.#attached.set(chat_id, []);
    this.#sending.drafts.keep(chat_id, { files: [] });
  }

  /**
   * Sends files, the text with the first ones. Returns when the messages are kept.
   * @param {string} chat_id
   * @param {string} body may be empty
   * @param {Partial<Content>} content
   * @param {readonly Attached[]} attached as taken from a draft
   */
  async send(chat_id, body, content, attached) {
    await Promise.all(attached.map((held) => this.#settle(held)));
    const files = attached.map(({ file }) => file);
    await this.#sending.send(chat_id, body, { ...content, files: files.slice(0, MAX_FILES) });
    for (let at = MAX_FILES; at < files.length; at += MAX_FILES)
      await this.#sending.send(chat_id, "", { files: files.slice(at, at + MAX_FILES) });
    this.#remove(chat_id, (held) => attached.includes(held));
  }

  /** The bytes of a message are kept without a limit, if there is room. @param {Attached} held */
  async #settle(held) {
    await held.ready;
    const id = idOf(held.file);
    if (held.isTooMuch || this.#bytes.isUnkept(id)) await this.#bytes.keep(id);
  }

  /**
   * Sends a voice message. Returns when it is kept.
   * @param {string} chat_id
   * @param {Voice} voice
   * @param {string} reply_to empty for none
   */
  async sendVoice(chat_id, { bytes, duration_ms, waveform }, reply_to) {
    const at = new Date(Date.now() - new Date().getTimezoneOffset() * 60_000).toISOString();
    const [, format = "webm"] = bytes.type.split("/");
    const name = `voice-${at.slice(0, 19).replace(/\D/g, "-")}.${format}`;
    const held = this.#hold(new File([bytes], name, { type: bytes.type }));
    Object.assign(held.file, { duration_ms, waveform });
    held.isLeaving = true;
    this.open(chat_id);
    this.#attached.get(chat_id)?.push(held);
    held.ready = this.#bytes.keep(idOf(held.file));
    await this.send(chat_id, "", { reply_to }, [held]);
  }

  // ---- the bytes of attached files

  /** @param {File} bytes @returns {Attached} */
  #hold(bytes) {
    const file = picked(bytes);
    this.#bytes.hold(idOf(file), bytes);
    return { file, ready: Promise.resolve(), isKept: false, isTooMuch: false, isLeaving: false };
  }

  /** Keeps and measures an attached file. @param {string} chat_id @param {Attached} held @param {Blob} bytes */
  async #prepare(chat_id, held, bytes) {
    const keep = async () => {
      held.isKept = await this.#bytes.keep(idOf(held.file));
      this.#share(chat_id);
    };
    await Promise.all([held.isTooMuch || keep(), this.#measure(held, bytes)]);
    if (this.#attached.get(chat_id)?.includes(held)) this.#share(chat_id);
  }

  /**
   * Adds to an attached file how large its picture is, or whether it is a text: its message has room for them at once.
   * @param {Attached} held
   * @param {Blob} bytes
   */
  async #measure(held, bytes) {
    const { file } = held;
    const found = isPicture(file.media_type)
      ? await this.#measurePicture(this.#bytes.urlOf(idOf(file)))
      : { media_type: await typeOfPicked(bytes, file.media_type).catch(() => file.media_type) };
    held.file = { ...held.file, ...found };
  }
}

/** @param {MessageFile} file of this browser */
export const idOf = ({ client_file_id = "" }) => client_file_id;

const namesOf = (/** @type {Attached[]} */ attached) => attached.map(({ file }) => file.name);
