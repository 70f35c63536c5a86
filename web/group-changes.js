// Requests control changes of groups: a retry of the same change has the same client id, and an accepted change is shown
// at once.

import { Problem } from "./api.js";
import { newId } from "./queue.js";

/** @import {ControlFields} from "./api.js" */
/** @import {Chats} from "./stores/chats.js" */
/** @import {Event as WireEvent} from "./wire.js" */

/** The limits of the server, in bytes of UTF-8. */
const MOST_BYTES = { name: 128, topic: 1_024 };

export class GroupChanges {
  #chats;
  /** The last change that is not accepted: what it is, and its client id. */
  #open = { change: "", client_change_id: "" };

  /** @param {Pick<Chats, "received">} chats */
  constructor(chats) {
    this.#chats = chats;
  }

  /**
   * @param {readonly unknown[]} change all that identifies the change: another one gets another client id
   * @param {(fields: ControlFields) => Promise<WireEvent>} request
   */
  async send(change, request) {
    const key = JSON.stringify(change);
    if (key !== this.#open.change) this.#open = { change: key, client_change_id: newId() };
    const event = await request({ client_change_id: this.#open.client_change_id });
    this.#open.change = "";
    this.#chats.received(event);
    return event;
  }
}

/** Whether the server takes a text of this length. @param {"name" | "topic"} field @param {string} text */
export const fits = (field, text) => new TextEncoder().encode(text).length <= MOST_BYTES[field];

/** The setting that the server refuses; empty for another refusal. @param {unknown} fault @returns {"name" | "topic" | ""} */
export function refusedSetting(fault) {
  const [, field] = (isInvalid(fault) && /\b(name|topic)$/.exec(fault.field)) || [];
  return /** @type {"name" | "topic" | ""} */ (field ?? "");
}

/** The user whom the server refuses; empty for another refusal. @param {unknown} fault @param {readonly string[]} user_ids */
export function refusedUser(fault, user_ids) {
  const [, at] = (fault instanceof Problem && /\buser_ids\[(\d+)\]$/.exec(fault.field)) || [];
  return user_ids[Number(at ?? -1)] ?? "";
}

/** @param {unknown} fault @returns {fault is Problem} */
const isInvalid = (fault) => fault instanceof Problem && fault.code === "invalid";
