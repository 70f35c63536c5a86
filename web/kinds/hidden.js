// Whether this user has deleted a message for themselves, from its state. Only the user's own devices receive the change.

import { newestOf } from "../changes.js";

/** @import {State} from "../changes.js" */

/** @param {{changes: State}} message */
export const isHidden = ({ changes }) => newestOf(changes, "hidden")?.change.hidden?.set === true;
