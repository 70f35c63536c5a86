// The end of a sign-in that another user's has replaced in this browser, as by a link that sets a password. Loaded when
// the page shows such a link while somebody is signed in.

import { Api } from "../api.js";
import * as banners from "../banners.js";
import { Credentials } from "../credentials.js";
import { clearCopies } from "./clearing.js";
import { SafeStorage } from "./storage.js";

/** @import {Stored} from "../credentials.js" */

/**
 * Ends a sign-in that is not the present one any more: on the server, if it responds, with its copies and notifications
 * in this browser. Its drafts and unsent messages stay. Does nothing if the present sign-in is of the same user.
 * @param {Stored} former
 * @param {Stored | null} present
 */
export async function endReplaced(former, present) {
  const { user_id } = former.user;
  if (user_id === present?.user.user_id) return;
  const own = new Credentials(new SafeStorage(() => /** @type {any} */ (null))); // in memory
  own.store(former);
  void new Api(own).signOut(); // its access token may have expired: then it is renewed first
  banners.close();
  await clearCopies(user_id);
}
