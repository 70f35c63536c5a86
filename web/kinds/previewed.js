// The preview of a message's first link, from its state: made by the server, until its sender, or in a group a member with
// `DELETE_MESSAGES`, removes it.

import { newestOf } from "../changes.js";
import { linksIn } from "../files/text-links.js";

/** @import {Message} from "../types.js" */

/** The preview; undefined without one, and if its link is none of the newest text's any more. @param {Message} message */
export function previewOf(message) {
  const preview = newestOf(message.changes, "previewed")?.change.previewed?.preview;
  return preview && linksIn(message).includes(preview.url ?? "") ? preview : undefined;
}
