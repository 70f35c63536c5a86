// Uploads the files for which messages of the outbox wait. Their bytes are kept in this browser until the message is
// accepted, so that uploads go on after a reload.

import { NoResponse, Problem } from "../api.js";
import { SignedOut } from "../credentials.js";
import { fileTexts } from "../languages/files.js";
import { texts } from "../languages/language.js";
import { newId } from "../queue.js";
import { refusalText } from "../refusals.js";
import { Store } from "../stores/store.js";
import { AttachedFiles, idOf } from "./attached.js";
import { Bytes } from "./bytes.js";
import { openFiles } from "./database.js";
import { sizeText } from "./kinds.js";
import { sizeOfPicture } from "./picked.js";
import { FileServer } from "./server.js";
import { Blocked, Unreadable, upload } from "./upload.js";

/** @import {Api} from "../api.js" */
/** @import {FileDatabase} from "./database.js" */
/** @import {Chats} from "../stores/chats.js" */
/** @import {Sending} from "../stores/sending.js" */
/** @import {Entry, Message, MessageFile} from "../types.js" */

/** Files that are uploaded at once; the parts of each one after another. */
const AT_ONCE = 3;
/** Responses other than those that let the file be sent, in a row, after which the upload fails. */
const MAX_FAILURES = 6;
/** After a failure that may pass, the upload is tried again after these times, in milliseconds. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 15_000;

/** The bytes are not in this browser any more. */
class Lost extends Error {}

/**
 * @typedef {object} Job
 * @property {AbortController} end
 * @property {number} sent bytes
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
  /** By client_file_id. @type {Map<string, Job>} */
  #jobs = new Map();
  /** The file_ids of uploads that the server has begun, of this page or an earlier one, by client_file_id. @type {Map<string, string>} */
  #begun = new Map();
  /** The client_file_ids of uploaded files, by file_id. @type {Map<string, string>} */
  #ids = new Map();

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
    /** The files that are attached to drafts. */
    this.attached = new AttachedFiles(sending, this.#bytes, this.#environment.measure, () => this.changed());
    this.subscribe(() => sending.changed());
    sending.subscribe(() => this.#look());
    this.#look();
  }

  /** Whether all files that wait would survive that the page closes. */
  get isDurable() {
    return this.#bytes.isDurable;
  }

  /** The sign-in has ended: all uploads end. */
  stop() {
    for (const job of this.#jobs.values()) {
      job.end.abort();
      job.wake();
    }
  }

  /** The sign-in has ended, and all that is kept is deleted. */
  clear() {
    this.attached.stop();
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

  /** The id that a file of a message got when this page had uploaded it; else empty. @param {MessageFile} file */
  fileIdOf({ client_file_id }) {
    return [...this.#ids].find(([, id]) => id === client_file_id)?.[0] ?? "";
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

  /** Sends a failed message without the file that could not be sent. @param {Message} message */
  sendWithout({ client_message_id }) {
    const entry = this.#sending.outbox.get(client_message_id);
    if (!entry) return;
    this.#sending.outbox.change({ ...entry, files: (entry.files ?? []).filter(({ has_failed }) => !has_failed) });
    this.#sending.retry({ client_message_id });
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
    return { ...file, file_id: "", upload_id: "", client_file_id };
  }

  /** Brings attached files, jobs and kept bytes in line with the drafts and the outbox. */
  #look() {
    const attached = this.attached.look((chat_id) => this.#chats.isClosed(chat_id));
    const { outbox } = this.#sending;
    const own = outbox.all.flatMap((entry) => (entry.files ?? []).map((file) => ({ entry, file })))
      .filter(({ file }) => file.client_file_id);
    const known = new Set([...attached, ...own.map(({ file }) => file)].map(idOf));
    const now_ms = Date.now();
    const isWanted = (/** @type {Entry} */ { client_id, state }) => state === "pending" && !outbox.isReserved(client_id, now_ms);
    const wanted = own.filter(({ entry, file }) => isWanted(entry) && !file.file_id);
    for (const { file } of own) void this.#load(file.client_file_id ?? "");
    for (const [id, job] of this.#jobs) {
      if (wanted.some(({ file }) => file.client_file_id === id) || job.end.signal.aborted) continue;
      job.end.abort();
      job.wake();
    }
    this.#cancelUnknown(own.map(({ file }) => file), known);
    for (const { file } of wanted)
      if (!this.#sending.hasEnded && this.#jobs.size < AT_ONCE && !this.#jobs.has(file.client_file_id ?? "")) void this.#upload(file);
    this.#bytes.forget(known);
  }

  /** Cancels uploads whose message is gone. @param {readonly MessageFile[]} files of waiting messages @param {ReadonlySet<string>} known */
  #cancelUnknown(files, known) {
    for (const { client_file_id: id = "", file_id, upload_id } of files) {
      if (file_id) this.#begun.delete(id);
      else if (upload_id) this.#begun.set(id, upload_id);
    }
    if (this.#sending.hasEnded) return;
    for (const [id, file_id] of this.#begun) {
      if (known.has(id)) continue;
      this.#begun.delete(id);
      this.#environment.server.cancel(file_id).catch(() => {}); // it is swept later
    }
  }

  // ---- the bytes

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
    const job = { end: new AbortController(), sent: 0, wake: () => {}, isPaused: false };
    this.#jobs.set(id, job);
    try {
      const { state: _state, part_bytes: _bytes, parts: _parts, ...info } = await this.#persist(file, job);
      this.#ids.set(info.file_id, id);
      this.#begun.delete(id);
      this.#change(id, (other) => ({ ...other, ...info, size: String(info.size), has_failed: false }));
    } catch (fault) {
      if (fault instanceof SignedOut) this.#sending.stop();
      if (!job.end.signal.aborted) this.#failed(id, fault);
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
      reserved: (/** @type {string} */ file_id) => {
        this.#begun.set(id, file_id);
        this.#change(id, (other) => ({ ...other, upload_id: file_id })); // a later page can cancel it
      },
      progress: (/** @type {number} */ sent) => {
        if (sent > most) pauses = failures = 0;
        job.sent = sent;
        most = Math.max(most, sent);
        this.changed();
      },
    };
    let [pauses, failures, most] = [0, 0, 0];
    for (;;) {
      const bytes = await this.#bytes.read(id);
      how.signal.throwIfAborted();
      if (!bytes) throw new Lost();
      job.isPaused = false;
      try {
        const reservation = { client_file_id: id, name, size: String(bytes.size), voice, keep_original };
        return await upload(this.#environment.server, reservation, bytes, how);
      } catch (fault) {
        how.signal.throwIfAborted();
        const isChecked = fault instanceof Problem && fault.status === 504 && job.sent >= bytes.size; // the server goes on
        const hasFailed = !isChecked && !(fault instanceof NoResponse);
        if (hasFailed && (!mayPass(fault) || ++failures >= MAX_FAILURES)) throw fault;
        job.isPaused = !isChecked;
        this.changed();
        const pause_ms = Math.min(FIRST_PAUSE_MS * 2 ** pauses++, LONGEST_PAUSE_MS);
        await pause(job, Math.max(pause_ms, fault instanceof Problem ? fault.retry_after_ms : 0));
        how.signal.throwIfAborted();
      }
    }
  }

  /** @param {string} id @param {unknown} fault */
  #failed(id, fault) {
    const entry = this.#entry(id);
    if (!entry) return;
    const files = (entry.files ?? []).map((file) => ({ ...file, has_failed: file.client_file_id === id }));
    const { name = "", size = "0" } = files.find(({ has_failed }) => has_failed) ?? {};
    const { maxFileBytes } = this.#sending;
    const { ofFile, tooLarge } = fileTexts.sending;
    const isTooLarge = fault instanceof Problem && fault.code === "too_large" && maxFileBytes > 0 && Number(size) > maxFileBytes;
    const error = isTooLarge ? tooLarge(name, sizeText(maxFileBytes)) : ofFile(name, this.#explain(fault));
    this.#sending.outbox.change({ ...entry, files, state: "failed", error });
  }

  /** Why a file could not be sent, for people. @param {unknown} fault */
  #explain(fault) {
    const { lost, unreadable, blocked, quota, notAllowed } = fileTexts.sending;
    if (fault instanceof Lost) return lost;
    if (fault instanceof Unreadable) return unreadable;
    if (fault instanceof Blocked) return blocked;
    if (!(fault instanceof Problem)) return texts.failed.unknown;
    const { code, field } = fault;
    if (code === "too_large") return quota;
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
