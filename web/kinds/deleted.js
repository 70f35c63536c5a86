// Whether a message is deleted, from its state.

import { newestOf } from "../changes.js";

/** @import {State} from "../changes.js" */

/** @param {{changes: State}} message */
export const isDeleted = ({ changes }) => newestOf(changes, "deleted") !== undefined;
