// The files of this browser: those that are attached to drafts, and those for which messages of the outbox wait. Their
// bytes are kept in this browser until the message is accepted, so that uploads go on after a reload.

import { NoResponse, Problem } from "../api.js";
import { SignedOut } from "../credentials.js";
import { fileTexts } from "../languages/files.js";
import { texts } from "../languages/language.js";
import { newId } from "../queue.js";
import { refusalText } from "../refusals.js";
import { Store } from "../stores/store.js";
import { openFiles } from "./database.js";
import { isPicture, picked, sizeOfPicture } from "./picked.js";
import { FileServer } from "./server.js";
import { Blocked, Unreadable, upload } from "./upload.js";

/** @import {Api} from "../api.js" */
/** @import {FileDatabase} from "./database.js" */
/** @import {Voice} from "./recorder.js" */
/** @import {Sending} from "../stores/sending.js" */
/** @import {Content, Entry, Message, MessageFile} from "../types.js" */

/** Files in a message: the server's limit. More of them are sent in several messages. */
export const MAX_FILES = 10;
/** Files attached to a draft at most. */
export const MAX_ATTACHED = 100;
/** Files that are uploaded at once; the parts of each one after another. */
const AT_ONCE = 3;
/** Responses other than those that let the file be sent, in a row, after which the upload fails. */
const MAX_FAILURES = 6;
/** Without a response, the upload is tried again after these times, in milliseconds. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 15_000;
/** Sent files whose bytes stay in memory, so that the page need not load them again. */
const MAX_SENT = 50;

/** The bytes are not in this browser any more. */
class Lost extends Error {}

/**
 * An attached file. `ready` resolves when its bytes are kept and a picture is measured.
 * @typedef {{file: MessageFile, ready: Promise<unknown>}} Attached
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
  #database;
  /** The bytes with their object URLs, by client_file_id. @type {Map<string, {bytes: Blob, url: string}>} */
  #local = new Map();
  /** The ids of files whose bytes the database may have. */
  #stored = new Set();
  /** The ids of files whose bytes are in memory only, though they wait for their upload. */
  #unkept = new Set();
  /** By chat_id. @type {Map<string, Attached[]>} */
  #attached = new Map();
  /** The ids of files that are attached, or become messages. */
  #held = new Set();
  /** By client_file_id. @type {Map<string, Job>} */
  #jobs = new Map();
  /** The client_file_ids of uploaded files, by file_id. @type {Map<string, string>} */
  #ids = new Map();
  /** Whether the sign-in has ended. */
  #hasEnded = false;

  /** @param {Sending} sending @param {Api} api @param {string} user_id @param {Partial<Environment>} [environment] */
  constructor(sending, api, user_id, environment) {
    super();
    this.#sending = sending;
    this.#environment = {
      ...{ server: new FileServer(api), open: () => openFiles(user_id), measure: sizeOfPicture },
      ...environment,
    };
    this.#database = this.#environment.open();
    this.#database.then((database) => database.prune(Date.now())).catch(() => {});
    this.subscribe(() => sending.changed());
    sending.subscribe(() => this.#look());
    this.#look();
  }

  /** Whether all files that wait would survive that the page closes. */
  get isDurable() {
    return this.#unkept.size === 0;
  }

  // ---- what the page shows

  /** An address of the bytes, if they are in memory; else empty. @param {MessageFile} file */
  urlOf({ client_file_id, file_id }) {
    return this.#local.get(client_file_id ?? this.#ids.get(file_id) ?? "")?.url ?? "";
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

  /** The files that are attached to a chat's draft. @param {string} chat_id @returns {readonly MessageFile[]} */
  attached(chat_id) {
    return (this.#attached.get(chat_id) ?? []).map(({ file }) => file);
  }

  /**
   * Attaches files to a chat's draft, as far as the limits allow.
   * @param {string} chat_id
   * @param {readonly File[]} files
   * @returns {{tooLarge: File[], tooMany: number}} the files that are not attached
   */
  attach(chat_id, files) {
    const most = this.#sending.maxFileBytes || Infinity;
    const before = this.#attached.get(chat_id) ?? [];
    const fitting = files.filter(({ size }) => size <= most);
    const taken = fitting.slice(0, MAX_ATTACHED - before.length).map((file) => this.#hold(chat_id, file));
    if (taken.length) this.#attached.set(chat_id, [...before, ...taken]);
    this.changed();
    return { tooLarge: files.filter(({ size }) => size > most), tooMany: fitting.length - taken.length };
  }

  /** Removes an attached file. @param {string} chat_id @param {MessageFile} file */
  detach(chat_id, { client_file_id = "" }) {
    const rest = (this.#attached.get(chat_id) ?? []).filter(({ file }) => file.client_file_id !== client_file_id);
    this.#attached.set(chat_id, rest);
    this.#held.delete(client_file_id);
    this.changed();
  }

  /** Returns the files that are attached to a chat's draft, and empties it. @param {string} chat_id */
  take(chat_id) {
    const attached = this.#attached.get(chat_id) ?? [];
    this.#attached.delete(chat_id);
    this.changed();
    return attached;
  }

  /**
   * Sends files, the text with the first ones. Returns when the messages are kept.
   * @param {string} chat_id
   * @param {string} body may be empty
   * @param {Partial<Content>} content
   * @param {readonly Attached[]} attached as taken from a draft
   */
  async send(chat_id, body, content, attached) {
    await Promise.all(attached.map(({ ready }) => ready));
    const files = attached.map(({ file }) => file);
    await this.#sending.send(chat_id, body, { ...content, files: files.slice(0, MAX_FILES) });
    for (let at = MAX_FILES; at < files.length; at += MAX_FILES)
      await this.#sending.send(chat_id, "", { files: files.slice(at, at + MAX_FILES) });
    for (const { client_file_id } of files) this.#held.delete(client_file_id);
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
    const attached = this.#hold(chat_id, new File([bytes], name, { type: bytes.type }));
    Object.assign(attached.file, { duration_ms, waveform });
    await this.send(chat_id, "", { reply_to }, [attached]);
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
    const local = this.#local.get(file.client_file_id ?? "");
    if (local) void this.#keep(client_file_id, local.bytes);
    return { ...file, file_id: "", client_file_id };
  }

  /** Brings jobs and kept bytes in line with the outbox and the drafts. */
  #look() {
    const { all } = this.#sending.outbox;
    const own = all.flatMap((entry) => (entry.files ?? []).map((file) => ({ entry, file })))
      .filter(({ file }) => file.client_file_id);
    const known = new Set([...this.#held, ...own.map(({ file }) => file.client_file_id)]);
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
    this.#forget(known);
  }

  /** Deletes the bytes of files that are sent, or were removed; the last ones stay in memory. @param {Set<unknown>} known */
  #forget(known) {
    const unused = [...this.#local.keys()].filter((id) => !known.has(id));
    for (const id of unused) {
      this.#unkept.delete(id);
      if (this.#stored.delete(id)) this.#database.then((database) => database.remove(id)).catch(() => {}); // pruned later
    }
    for (const id of unused.slice(0, -MAX_SENT)) {
      URL.revokeObjectURL(this.#local.get(id)?.url ?? "");
      this.#local.delete(id);
    }
  }

  // ---- the bytes

  /** @param {string} chat_id @param {File} bytes @returns {Attached} */
  #hold(chat_id, bytes) {
    const file = picked(bytes);
    const id = file.client_file_id ?? "";
    this.#held.add(id);
    const kept = this.#keep(id, bytes);
    return { file, ready: Promise.all([kept, this.#measure(chat_id, file)]) };
  }

  /** Adds its size to an attached picture. @param {string} chat_id @param {MessageFile} file */
  async #measure(chat_id, file) {
    if (!isPicture(file.media_type)) return;
    const size = await this.#environment.measure(this.urlOf(file));
    Object.assign(file, size);
    if (this.attached(chat_id).includes(file)) this.changed();
  }

  /** @param {string} id @param {Blob} bytes */
  #add(id, bytes) {
    this.#local.set(id, { bytes, url: URL.createObjectURL(bytes) });
  }

  /**
   * Keeps bytes in memory and, if there is room, in the database. The kept bytes stay when the file on the disk changes.
   * @param {string} id
   * @param {Blob} bytes
   */
  async #keep(id, bytes) {
    this.#add(id, bytes);
    this.#stored.add(id);
    try {
      const database = await this.#database;
      await database.put(id, bytes, Date.now());
      const local = this.#local.get(id);
      if (local) local.bytes = (await database.get(id)) ?? bytes;
    } catch {
      if (this.#local.has(id)) this.#unkept.add(id);
    }
  }

  /** Reads the bytes of a message that an earlier page has kept. @param {string} id */
  async #load(id) {
    if (this.#local.has(id) || this.#stored.has(id)) return;
    this.#stored.add(id);
    try {
      const bytes = await (await this.#database).get(id);
      if (bytes) this.#add(id, bytes);
    } catch {
      // The upload reports it.
    }
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
    const { client_file_id: id = "", name, duration_ms, waveform = "" } = file;
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
      const bytes = await this.#bytes(id);
      job.isPaused = false;
      try {
        return await upload(this.#environment.server, { client_file_id: id, name, size: String(bytes.size), voice }, bytes, how);
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

  /** @param {string} id */
  async #bytes(id) {
    const bytes = this.#local.get(id)?.bytes ?? (await (await this.#database).get(id).catch(() => undefined));
    if (!bytes) throw new Lost();
    return bytes;
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
