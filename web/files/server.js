// The requests of an upload. Parts are sent by XMLHttpRequest, since fetch does not report the progress of a body.

import { Api, NoResponse, Problem } from "../api.js";
import { parsed } from "../stores/storage.js";

/** @import {FileInfo} from "../wire.js" */

/** A part of which nothing was sent, or whose response is missing, for this time fails, in milliseconds. */
const STALLED_MS = 30_000;
/** A picture of a user or a group is uploaded within this time, in milliseconds. */
const DEADLINE_MS = 60_000;

/**
 * A file as its owner reads it.
 * @typedef {FileInfo & {state: "uploading" | "complete" | "blocked", part_bytes?: number,
 *   parts?: {number: number, size: number}[]}} UploadedFile parts: those that the server has
 */
/**
 * A file to reserve.
 * @typedef {object} Reservation
 * @property {string} client_file_id a retry with the same one returns the same file
 * @property {string} name
 * @property {string} size in bytes
 * @property {{duration_ms: number, waveform: string}} [voice]
 * @property {boolean} [keep_original] whether a picture keeps its bytes, with the camera's data
 */

export class FileServer {
  #api;
  #makeRequest;

  /** @param {Pick<Api, "accessToken" | "signedIn">} api @param {() => XMLHttpRequest} [makeRequest] */
  constructor(api, makeRequest = () => new XMLHttpRequest()) {
    this.#api = api;
    this.#makeRequest = makeRequest;
  }

  /** @param {Reservation} file @returns {Promise<UploadedFile>} */
  reserve(file) {
    return this.#api.signedIn("POST", "/v1/files", file);
  }

  /** @param {string} file_id @returns {Promise<UploadedFile>} */
  complete(file_id) {
    return this.#api.signedIn("POST", `/v1/files/${file_id}/complete`);
  }

  /** Ends an upload that is not complete. @param {string} file_id */
  cancel(file_id) {
    return this.#api.signedIn("DELETE", `/v1/files/${file_id}`);
  }

  /**
   * Sends a part, and once more with a new access token if that was rejected.
   * @param {string} file_id
   * @param {number} number from 1
   * @param {ArrayBuffer} bytes
   * @param {{signal: AbortSignal, progress: (sent: number) => void}} how sent: the bytes of this part so far
   * @throws {Problem | NoResponse | import("../credentials.js").SignedOut}
   */
  async writePart(file_id, number, bytes, how) {
    await this.#signedIn("PUT", `/v1/files/${file_id}/parts/${number}`, bytes, how);
  }

  /**
   * Uploads a picture for the user, or for a group. Returns the token by which the profile or the group gets it.
   * @param {Blob} picture
   * @param {string} chat_id of the group; empty for the user
   * @returns {Promise<string>}
   */
  async makeAvatar(picture, chat_id) {
    const how = { signal: AbortSignal.timeout(DEADLINE_MS), progress: () => {} };
    const { avatar } = await this.#signedIn("POST", `/v1/avatars?${new URLSearchParams(chat_id ? { chat_id } : {})}`, picture, how);
    return avatar;
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {ArrayBuffer | Blob} bytes
   * @param {{signal: AbortSignal, progress: (sent: number) => void}} how
   * @returns {Promise<any>}
   */
  async #signedIn(method, path, bytes, how) {
    const token = await this.#api.accessToken("");
    try {
      return await this.#send(method, path, bytes, token, how);
    } catch (fault) {
      if (!(fault instanceof Problem && fault.status === 401)) throw fault;
      return this.#send(method, path, bytes, await this.#api.accessToken(token), how);
    }
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {ArrayBuffer | Blob} bytes
   * @param {string} token
   * @param {{signal: AbortSignal, progress: (sent: number) => void}} how
   * @returns {Promise<any>} the response
   */
  #send(method, path, bytes, token, { signal, progress }) {
    const request = this.#makeRequest();
    const abort = () => request.abort();
    let timer = setTimeout(abort, STALLED_MS);
    return new Promise((resolve, reject) => {
      request.open(method, path);
      request.setRequestHeader("Authorization", `Bearer ${token}`);
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.upload.onprogress = ({ loaded }) => {
        clearTimeout(timer);
        timer = setTimeout(abort, STALLED_MS);
        progress(loaded);
      };
      request.onload = () => {
        const body = parsed(request.responseText);
        if (request.status < 300) resolve(body);
        else reject(new Problem(request.status, body ?? {}));
      };
      request.onerror = request.onabort = () => reject(new NoResponse("no response"));
      signal.addEventListener("abort", abort);
      request.send(bytes);
    }).finally(() => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    });
  }
}
