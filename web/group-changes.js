// Requests control changes of groups: a retry of the same change has the same client id, and an accepted change is shown
// at once.

import { Problem } from "./api.js";
import { bodyOf, GroupDraft, namesIn, valuesOf } from "./group-draft.js";
import { newId } from "./queue.js";

/** @import {Api, ControlFields} from "./api.js" */
/** @import {SettingValues} from "./group-draft.js" */
/** @import {Chats} from "./stores/chats.js" */
/** @import {Group} from "./types.js" */
/** @import {Event as WireEvent} from "./wire.js" */

/** The limits of the server, in bytes of UTF-8. */
const MOST_BYTES = { name: 128, topic: 1_024 };

export class GroupChanges {
  #api;
  #chats;
  #chat_id;
  /** The last change that is not accepted: what it is, and its client id. */
  #open = { change: "", client_change_id: "" };

  /**
   * @param {Pick<Api, "addMembers" | "chat" | "changeGroup">} api
   * @param {Pick<Chats, "of" | "merge" | "received">} chats
   * @param {string} [chat_id] of a group that is loaded; empty for one that is to be created
   */
  constructor(api, chats, chat_id = "") {
    this.#api = api;
    this.#chats = chats;
    this.#chat_id = chat_id;
  }

  /** The group as far as the page knows it. */
  get #group() {
    return /** @type {Group} */ (this.#chats.of(this.#chat_id).group);
  }

  /**
   * Requests a change, and shows the event that answers it.
   * @param {readonly unknown[]} change see `request`
   * @param {(fields: ControlFields) => Promise<WireEvent>} request
   */
  async send(change, request) {
    const event = await this.request(change, request);
    this.#chats.received(event);
    return event;
  }

  /** Adds users, as guests if this user is a guest, whom the server lets add nobody else. @param {string[]} user_ids */
  add(user_ids) {
    const { role: own } = this.#group.own;
    const role = own === "ROLE_GUEST" ? { role: own } : {};
    return this.send([user_ids, role], (fields) => this.#api.addMembers(this.#chat_id, { ...fields, user_ids, ...role }));
  }

  /**
   * @template Answer
   * @param {readonly unknown[]} change all that identifies the change: another one gets another client id, and so does
   * the same change of the group after other ones, and one whose first attempt had other contents and has no answer
   * @param {(fields: ControlFields) => Promise<Answer>} request
   */
  async request(change, request) {
    const key = JSON.stringify(this.#chat_id ? [this.#group.version, change] : change);
    if (key !== this.#open.change) this.#open = { change: key, client_change_id: newId() };
    const send = () => request({ client_change_id: this.#open.client_change_id });
    const answer = await send().catch((/** @type {unknown} */ fault) => {
      if (!(fault instanceof Problem && fault.field === "client_change_id")) throw fault;
      this.#open.client_change_id = newId();
      return send();
    });
    this.#open.change = "";
    return answer;
  }

  /**
   * Saves what the user has changed. If others have changed only other settings since, it is saved nevertheless.
   * @param {GroupDraft} draft
   * @param {SettingValues} entered
   * @throws {Problem} `version_conflict` if others have changed the same settings; the chat has the present ones then
   */
  async saveSettings(draft, entered) {
    for (;;) {
      const { settings, version } = this.#group;
      const before = valuesOf(settings);
      const changed = draft.changed(before, entered);
      if (!namesIn(changed).length) return;
      const body = bodyOf(settings, changed);
      try {
        const request = (/** @type {ControlFields} */ fields) =>
          this.#api.changeGroup(this.#chat_id, { ...fields, expected_version: version, ...body });
        return void (await this.send([body], request));
      } catch (fault) {
        if (!(fault instanceof Problem && fault.code === "version_conflict")) throw fault;
        this.#chats.merge([await this.#api.chat(this.#chat_id)]);
        const present = this.#group;
        const isSame = namesIn(changed).every((name) => valuesOf(present.settings)[name] === before[name]);
        if (!isSame || present.version === version) throw fault;
      }
    }
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
