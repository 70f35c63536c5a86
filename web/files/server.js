// The requests of an upload. Parts are sent by XMLHttpRequest, since fetch does not report the progress of a body.

import { Api, NoResponse, Problem } from "../api.js";
import { parsed } from "../stores/storage.js";

/** @import {FileInfo} from "../wire.js" */

/** A part of which nothing was sent, or whose response is missing, for this time fails, in milliseconds. */
const STALLED_MS = 30_000;

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
    const path = `/v1/files/${file_id}/parts/${number}`;
    const token = await this.#api.accessToken("");
    try {
      await this.#put(path, bytes, token, how);
    } catch (fault) {
      if (!(fault instanceof Problem && fault.status === 401)) throw fault;
      await this.#put(path, bytes, await this.#api.accessToken(token), how);
    }
  }

  /**
   * @param {string} path
   * @param {ArrayBuffer} bytes
   * @param {string} token
   * @param {{signal: AbortSignal, progress: (sent: number) => void}} how
   * @returns {Promise<void>}
   */
  #put(path, bytes, token, { signal, progress }) {
    const request = this.#makeRequest();
    const abort = () => request.abort();
    let timer = setTimeout(abort, STALLED_MS);
    return /** @type {Promise<void>} */ (
      new Promise((resolve, reject) => {
        request.open("PUT", path);
        request.setRequestHeader("Authorization", `Bearer ${token}`);
        request.setRequestHeader("Content-Type", "application/octet-stream");
        request.upload.onprogress = ({ loaded }) => {
          clearTimeout(timer);
          timer = setTimeout(abort, STALLED_MS);
          progress(loaded);
        };
        request.onload = () => {
          if (request.status < 300) resolve();
          else reject(new Problem(request.status, parsed(request.responseText) ?? {}));
        };
        request.onerror = request.onabort = () => reject(new NoResponse("no response"));
        signal.addEventListener("abort", abort);
        request.send(bytes);
      })
    ).finally(() => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    });
  }
}
