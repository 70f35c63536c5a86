// The preview of a message's first link, from its state: made by the server, until the sender takes it away.

import { newestOf } from "../changes.js";
import { textOf } from "./edited.js";

/** @import {Message} from "../types.js" */

/** The preview; undefined without one, and if its link is not in the newest text any more. @param {Message} message */
export function previewOf(message) {
  const preview = newestOf(message.changes, "previewed")?.change.previewed?.preview;
  const { url = "" } = preview ?? {};
  return /^https?:\/\//i.test(url) && textOf(message).includes(url) ? preview : undefined;
}
