// The files of this browser: those that are attached to drafts, and those for which messages of the outbox wait. Their
// bytes are kept in this browser until the message is accepted, so that drafts have them and uploads go on after a reload.

import { NoResponse, Problem } from "../api.js";
import { SignedOut } from "../credentials.js";
import { fileTexts } from "../languages/files.js";
import { texts } from "../languages/language.js";
import { newId } from "../queue.js";
import { refusalText } from "../refusals.js";
import { Store } from "../stores/store.js";
import { Bytes } from "./bytes.js";
import { openFiles } from "./database.js";
import { isPicture, picked, sizeOfPicture } from "./picked.js";
import { typeOfPicked } from "./plain-text.js";
import { FileServer } from "./server.js";
import { Blocked, Unreadable, upload } from "./upload.js";

/** @import {Api} from "../api.js" */
/** @import {FileDatabase} from "./database.js" */
/** @import {Voice} from "./recorder.js" */
/** @import {Chats} from "../stores/chats.js" */
/** @import {Sending} from "../stores/sending.js" */
/** @import {Content, Entry, Message, MessageFile} from "../types.js" */

/** Files in a message: the server's limit. More of them are sent in several messages. */
export const MAX_FILES = 10;
/** Files attached to a draft at most. */
export const MAX_ATTACHED = 100;
/** The files of all drafts of a user that this browser keeps, in bytes; further ones stay in memory only. */
export const MAX_DRAFT_BYTES = 256_000_000;
/** Files that are uploaded at once; the parts of each one after another. */
const AT_ONCE = 3;
/** Responses other than those that let the file be sent, in a row, after which the upload fails. */
const MAX_FAILURES = 6;
/** Without a response, the upload is tried again after these times, in milliseconds. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 15_000;

/** The bytes are not in this browser any more. */
class Lost extends Error {}

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
/**
 * @typedef {object} Job
 * @property {AbortController} end
 * @property {number} sent bytes
 * @property {string} file_id empty before the reservation
 * @property {() => void} wake ends a pause
 * @property {boolean} isPaused
 */

/**
 * What a test replaces.
 * @typedef {object} Environment
 * @property {Pick<FileServer, "reserve" | "writePart" | "complete" | "cancel">} server
 * @property {() => Promise<FileDatabase>} open
 * @property {typeof sizeOfPicture} measure
 */

export class Uploads extends Store {
  #sending;
  #environment;
  #chats;
  #bytes;
  /** Of the chats that were opened in this page, by chat_id; the other drafts have only kept files. @type {Map<string, Attached[]>} */
  #attached = new Map();
  /** The names of files that a draft had, and this browser has lost, by chat_id. @type {Map<string, string[]>} */
  #lost = new Map();
  /** By client_file_id. @type {Map<string, Job>} */
  #jobs = new Map();
  /** The client_file_ids of uploaded files, by file_id. @type {Map<string, string>} */
  #ids = new Map();
  /** Whether the sign-in has ended. */
  #hasEnded = false;

  /** @param {Sending} sending @param {Api} api @param {Chats} chats @param {Partial<Environment>} [environment] */
  constructor(sending, api, chats, environment) {
    super();
    this.#sending = sending;
    this.#chats = chats;
    this.#environment = {
      ...{ server: new FileServer(api), open: () => openFiles(chats.me.user_id), measure: sizeOfPicture },
      ...environment,
    };
    this.#bytes = new Bytes(this.#environment.open());
    this.#dropSent();
    this.subscribe(() => sending.changed());
    sending.subscribe(() => this.#look());
    this.#look();
  }

  /** Whether all files that wait would survive that the page closes. */
  get isDurable() {
    return this.#bytes.isDurable;
  }

  /** Whether files are attached that are not kept, since those of the drafts have reached their limit. */
  get hasTooMuch() {
    return [...this.#attached.values()].flat().some(({ isTooMuch }) => isTooMuch);
  }

  /** The sign-in has ended, and all that is kept is deleted. */
  stop() {
    this.#hasEnded = true;
    this.#attached.clear();
    this.#bytes.stop();
  }

  // ---- what the page shows

  /** An address of the bytes, if they are in memory; else empty. @param {MessageFile} file */
  urlOf(file) {
    return this.#bytes.urlOf(this.#idOf(file));
  }

  /** The bytes, if they are in memory. @param {MessageFile} file */
  bytesOf(file) {
    return this.#bytes.of(this.#idOf(file));
  }

  /** @param {MessageFile} file */
  #idOf({ client_file_id, file_id }) {
    return client_file_id ?? this.#ids.get(file_id) ?? "";
  }

  /**
   * How much of a file of a waiting message is sent, in bytes; null of any other file.
   * @param {MessageFile} file
   * @returns {{sent: number, size: number, isWaiting: boolean} | null} isWaiting: nothing is being sent now
   */
  progressOf({ client_file_id = "", file_id, size }) {
    if (!client_file_id || file_id) return null;
    const job = this.#jobs.get(client_file_id);
    return { sent: job?.sent ?? 0, size: Number(size), isWaiting: !job || job.isPaused };
  }

  // ---- attached files

  /** The chats that were opened in this page and have attached files. */
  get chats() {
    return [...this.#attached].filter(([, attached]) => attached.length).map(([chat_id]) => chat_id);
  }

  /** The files that are attached to a chat's draft. @param {string} chat_id @returns {readonly MessageFile[]} */
  attached(chat_id) {
    if (!this.#attached.has(chat_id)) return this.#sending.drafts.get(chat_id).files;
    return this.#staying(chat_id).map(({ file }) => file);
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
  attach(chat_id, files) {
    this.open(chat_id);
    const before = this.#attached.get(chat_id) ?? [];
    const most = this.#sending.maxFileBytes || Infinity;
    const keep_original = this.isOriginal(chat_id);
    const fitting = files.filter(({ size }) => size <= most);
    const count = Math.max(MAX_ATTACHED - this.attached(chat_id).length, 0); // two tabs may have attached more
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
    this.changed();
    return { tooLarge: files.filter(({ size }) => size > most), tooMany: fitting.length - taken.length };
  }

  /** Removes an attached file. @param {string} chat_id @param {MessageFile} file */
  detach(chat_id, file) {
    this.#lost.delete(chat_id);
    this.#remove(chat_id, (held) => held.file.client_file_id === file.client_file_id);
  }

  /** Whether the attached pictures are to keep their bytes, with the camera's data. @param {string} chat_id */
  isOriginal(chat_id) {
    return this.attached(chat_id).some((file) => file.keep_original && isPicture(file.media_type));
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
    this.changed();
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
    this.changed();
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
    if (await this.#bytes.load(id)) return this.changed();
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

  /** Nobody can send the files of a chat that the user has left. @param {string} chat_id */
  #discard(chat_id) {
    for (const file of this.attached(chat_id)) this.#bytes.remove(idOf(file));
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

  // ---- messages of the outbox

  /** Takes back a message whose files are not uploaded; its text becomes the draft if that is empty. @param {Message} message */
  cancel({ client_message_id, chat_id }) {
    const { drafts, outbox } = this.#sending;
    const entry = outbox.get(client_message_id);
    if (!entry || outbox.isReady(entry)) return; // it may be accepted by now
    outbox.remove(client_message_id);
    const { text, reply_to } = drafts.get(chat_id);
    if (entry.body && !text) {
      drafts.keep(chat_id, { text: entry.body, reply_to: reply_to || entry.reply_to });
      if (drafts.field?.chat_id === chat_id) drafts.field.show(entry.body);
    }
    this.#sending.flush();
    this.#sending.changed();
  }

  /** The session is online: paused uploads continue. */
  online() {
    for (const job of this.#jobs.values()) job.wake();
  }

  /**
   * The server has finally refused a message. If its files are gone, as unused ones are after a day, a further try
   * uploads them again.
   * @param {string} client_id
   * @param {string} [field] that the refusal names
   */
  refused(client_id, field = "") {
    const entry = this.#sending.outbox.get(client_id);
    if (!entry || !field.startsWith("send.files")) return;
    const files = (entry.files ?? []).map((file) => (file.client_file_id ? this.#again(file) : file));
    this.#sending.outbox.change({ ...entry, files });
  }

  /** The file under another id, which the server does not know. @param {MessageFile} file @returns {MessageFile} */
  #again(file) {
    const client_file_id = newId();
    const bytes = this.bytesOf(file);
    if (bytes) {
      this.#bytes.hold(client_file_id, bytes);
      void this.#bytes.keep(client_file_id);
    }
    return { ...file, file_id: "", client_file_id };
  }

  /** Brings attached files, jobs and kept bytes in line with the drafts and the outbox. */
  #look() {
    const { drafts, outbox } = this.#sending;
    const withFiles = drafts.chats.filter((chat_id) => drafts.get(chat_id).files.length);
    for (const chat_id of new Set([...withFiles, ...this.chats])) if (this.#chats.isClosed(chat_id)) this.#discard(chat_id);
    for (const chat_id of this.#attached.keys()) this.#follow(chat_id);
    const drafted = withFiles.flatMap((chat_id) => drafts.get(chat_id).files);
    const attached = [...this.#attached.values()].flat().map(({ file }) => file);
    const own = outbox.all.flatMap((entry) => (entry.files ?? []).map((file) => ({ entry, file })))
      .filter(({ file }) => file.client_file_id);
    const known = new Set([...drafted, ...attached, ...own.map(({ file }) => file)].map(idOf));
    const wanted = own.filter(({ entry, file }) => entry.state === "pending" && !file.file_id);
    for (const { file } of own) void this.#load(file.client_file_id ?? "");
    for (const [id, job] of this.#jobs) {
      if (wanted.some(({ file }) => file.client_file_id === id) || job.end.signal.aborted) continue;
      job.end.abort();
      job.wake();
      if (!known.has(id) && job.file_id) this.#environment.server.cancel(job.file_id).catch(() => {}); // it is swept later
    }
    for (const { file } of wanted)
      if (!this.#hasEnded && this.#jobs.size < AT_ONCE && !this.#jobs.has(file.client_file_id ?? "")) void this.#upload(file);
    this.#bytes.forget(known);
  }

  // ---- the bytes

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
      ? await this.#environment.measure(this.urlOf(file))
      : { media_type: await typeOfPicked(bytes, file.media_type).catch(() => file.media_type) };
    held.file = { ...held.file, ...found };
  }

  /** Reads the bytes of a message that an earlier page has kept. @param {string} id */
  async #load(id) {
    if (this.#bytes.knows(id)) return;
    await this.#bytes.load(id);
    this.changed();
  }

  // ---- uploads

  /** @param {MessageFile} file of a waiting message */
  async #upload(file) {
    const id = file.client_file_id ?? "";
    /** @type {Job} */
    const job = { end: new AbortController(), sent: 0, file_id: "", wake: () => {}, isPaused: false };
    this.#jobs.set(id, job);
    try {
      const { state: _state, part_bytes: _bytes, parts: _parts, ...info } = await this.#persist(file, job);
      this.#ids.set(info.file_id, id);
      this.#change(id, (other) => ({ ...other, ...info, size: String(info.size) }));
    } catch (fault) {
      this.#hasEnded ||= fault instanceof SignedOut;
      if (!job.end.signal.aborted && !this.#hasEnded) this.#failed(id, fault);
    }
    this.#jobs.delete(id);
    this.#sending.flush();
    this.changed();
  }

  /** Uploads a file, again after each failure that may pass. @param {MessageFile} file @param {Job} job */
  async #persist(file, job) {
    const { client_file_id: id = "", name, duration_ms, waveform = "", keep_original } = file;
    const voice = duration_ms ? { duration_ms, waveform } : undefined;
    const how = {
      signal: job.end.signal,
      reserved: (/** @type {string} */ file_id) => void (job.file_id = file_id),
      progress: (/** @type {number} */ sent) => {
        if (sent > most) failures = 0;
        job.sent = sent;
        most = Math.max(most, sent);
        this.changed();
      },
    };
    let [failures, most] = [0, 0];
    for (;;) {
      const bytes = await this.#bytes.read(id);
      if (!bytes) throw new Lost();
      job.isPaused = false;
      try {
        const reservation = { client_file_id: id, name, size: String(bytes.size), voice, keep_original };
        return await upload(this.#environment.server, reservation, bytes, how);
      } catch (fault) {
        how.signal.throwIfAborted();
        failures++;
        if (!(fault instanceof NoResponse) && (!mayPass(fault) || failures >= MAX_FAILURES)) throw fault;
        job.isPaused = true;
        this.changed();
        const pause_ms = Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), LONGEST_PAUSE_MS);
        await pause(job, Math.max(pause_ms, fault instanceof Problem ? fault.retry_after_ms : 0));
        how.signal.throwIfAborted();
      }
    }
  }

  /** @param {string} id @param {unknown} fault */
  #failed(id, fault) {
    const entry = this.#entry(id);
    if (entry) this.#sending.outbox.change({ ...entry, state: "failed", error: this.#explain(fault) });
  }

  /** Why a file could not be sent, for people. @param {unknown} fault */
  #explain(fault) {
    const { lost, unreadable, blocked, quota, notAllowed } = fileTexts.sending;
    if (fault instanceof Lost) return lost;
    if (fault instanceof Unreadable) return unreadable;
    if (fault instanceof Blocked) return blocked;
    if (!(fault instanceof Problem)) return texts.failed.unknown;
    const { code, field } = fault;
    if (code === "too_large") return quota; // larger files are not attached
    if (field === "media_type") return notAllowed;
    return refusalText({ code, field, message: fault.message });
  }

  /** @param {string} id @param {(file: MessageFile) => MessageFile} change */
  #change(id, change) {
    const entry = this.#entry(id);
    const files = (entry?.files ?? []).map((file) => (file.client_file_id === id ? change(file) : file));
    if (entry) this.#sending.outbox.change({ ...entry, files });
  }

  /** The message that waits for a file. @param {string} id @returns {Entry | undefined} */
  #entry(id) {
    return this.#sending.outbox.all.find(({ files = [] }) => files.some(({ client_file_id }) => client_file_id === id));
  }
}

/** @param {MessageFile} file of this browser */
const idOf = ({ client_file_id = "" }) => client_file_id;

const namesOf = (/** @type {Attached[]} */ attached) => attached.map(({ file }) => file.name);

/** Whether a further try may succeed. The server forgets an upload that was not used for long: then it is reserved again. */
const mayPass = (/** @type {unknown} */ fault) =>
  fault instanceof Problem && (fault.status >= 500 || [404, 408, 409, 429].includes(fault.status));

/** @param {Job} job @param {number} ms */
function pause(job, ms) {
  return /** @type {Promise<void>} */ (
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      job.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    })
  );
}
