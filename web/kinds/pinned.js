// The pin of a message, from its state.

import { newestOf } from "../changes.js";

/** @import {State} from "../changes.js" */

/** The event that pinned the message; undefined if it is not pinned. @param {{changes: State}} message */
export function pinOf({ changes }) {
  const event = newestOf(changes, "pinned");
  return event?.change.pinned?.set ? event : undefined;
}
