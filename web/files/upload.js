// Uploads a file in parts. It continues an upload that was interrupted, also in another page: the server lists the parts
// that it has.
import { FileServer } from "./server.js";

/** @import {Reservation, UploadedFile} from "./server.js" */

/** The browser can't read the bytes any more: the file was changed or deleted on the disk. */
export class Unreadable extends Error {}

/** The virus scanner of the server has found something in the file. */
export class Blocked extends Error {}

/**
 * Returns the complete file. After a failure, a further call continues.
 * @param {Pick<FileServer, "reserve" | "writePart" | "complete">} server
 * @param {Reservation} reservation
 * @param {Blob} blob
 * @param {object} how
 * @param {AbortSignal} how.signal
 * @param {(file_id: string) => void} how.reserved called before the first part is sent
 * @param {(sent: number) => void} how.progress called with the bytes that are sent
 * @returns {Promise<UploadedFile>}
 * @throws {import("../api.js").Problem | import("../api.js").NoResponse | import("../credentials.js").SignedOut | Unreadable | Blocked}
 */
export async function upload(server, reservation, blob, { signal, reserved, progress }) {
  const file = await server.reserve(reservation);
  if (file.state !== "uploading") return checked(file);
  reserved(file.file_id);
  const { part_bytes = blob.size } = file;
  const stored = new Map((file.parts ?? []).map(({ number, size }) => [number, size]));
  let sent = 0;
  for (let number = 1; sent < blob.size; number++) {
    const part = blob.slice(sent, sent + part_bytes);
    if (stored.get(number) !== part.size) {
      const bytes = await read(part);
      signal.throwIfAborted();
      await server.writePart(file.file_id, number, bytes, { signal, progress: (of) => progress(sent + of) });
    }
    sent += part.size;
    progress(sent);
  }
  signal.throwIfAborted();
  return checked(await server.complete(file.file_id));
}

/** @param {UploadedFile} file */
function checked(file) {
  if (file.state === "blocked") throw new Blocked();
  return file;
}

/** @param {Blob} part */
async function read(part) {
  try {
    return await part.arrayBuffer();
  } catch (fault) {
    throw new Unreadable("", { cause: fault });
  }
}
