// The requests of the HTTP API by which users join groups: invite links, public groups, and requests to join.

import { isMember } from "./groups.js";

/** @import {Api, ControlFields} from "./api.js" */
/** @import {Chat} from "./types.js" */
/** @import {Event as WireEvent, Invite} from "./wire.js" */

/**
 * A group as a user sees it who may join it.
 * @typedef {object} OpenGroup
 * @property {string} chat_id
 * @property {string} name
 * @property {string} [topic]
 * @property {string} [avatar]
 * @property {number} members
 * @property {boolean} [is_channel]
 * @property {boolean} [is_member]
 * @property {boolean} [asks_to_join] whether a member has to accept the user
 * @property {boolean} [has_asked]
 */
/** A user who asked to join. @typedef {{user_id: string, asked_at_ms: string}} JoinRequest */
/** An invite link, and whether users can join by it now. @typedef {Invite & {is_usable: boolean}} InviteLink */
/** A list of a group, and the version of the chat that it is of. @typedef {{version?: string}} Versioned */
/** @typedef {"open" | "takeBack" | "ask" | "join"} Step what the user can do next */

export class Joining {
  #api;

  /** @param {Pick<Api, "signedIn">} api */
  constructor(api) {
    this.#api = api;
  }

  /** The invite links of a group. @param {string} chat_id @returns {Promise<Versioned & {invites: InviteLink[]}>} */
  invites(chat_id) {
    return this.#api.signedIn("GET", `${pathOf(chat_id)}/invites`);
  }

  /**
   * @param {string} chat_id
   * @param {ControlFields & {expires_in_seconds: number, max_uses: number}} invite 0: it never ends; any number of uses
   * @returns {Promise<{invite: InviteLink, token: string}>} the token is returned only here, also to a retry
   */
  createInvite(chat_id, invite) {
    return this.#api.signedIn("POST", `${pathOf(chat_id)}/invites`, invite);
  }

  /** @param {string} chat_id @param {string} invite_id @param {ControlFields} fields @returns {Promise<WireEvent>} */
  revokeInvite(chat_id, invite_id, fields) {
    return this.#api.signedIn("DELETE", `${pathOf(chat_id)}/invites/${invite_id}?${new URLSearchParams(fields)}`);
  }

  /** The group of an invite link. @param {string} token @returns {Promise<OpenGroup>} */
  look(token) {
    return this.#api.signedIn("GET", `/v1/joining/${encodeURIComponent(token)}`);
  }

  /** Joins, or asks to join, by an invite link. @param {string} token @param {ControlFields} fields @returns {Promise<WireEvent>} */
  join(token, fields) {
    return this.#api.signedIn("POST", `/v1/joining/${encodeURIComponent(token)}`, fields);
  }

  /**
   * A page of the public groups whose names contain the words of a text, or of all.
   * @param {string} query
   * @param {string} after of the page before; empty for the first
   * @returns {Promise<{chats: OpenGroup[], has_more?: boolean, after?: string}>}
   */
  publicGroups(query, after) {
    const page = { limit: "20", ...(query ? { query } : {}), ...(after ? { after } : {}) };
    return this.#api.signedIn("GET", `/v1/public-chats?${new URLSearchParams(page)}`);
  }

  /** Joins, or asks to join, a public group. @param {string} chat_id @param {ControlFields} fields @returns {Promise<WireEvent>} */
  joinPublic(chat_id, fields) {
    return this.#api.signedIn("POST", `/v1/public-chats/${encodeURIComponent(chat_id)}/joining`, fields);
  }

  /** The users who have asked to join. @param {string} chat_id @returns {Promise<Versioned & {requests: JoinRequest[]}>} */
  requests(chat_id) {
    return this.#api.signedIn("GET", `${pathOf(chat_id)}/requests`);
  }

  /**
   * Declines a request to join; the user themselves takes it back.
   * @param {string} chat_id
   * @param {string} user_id
   * @param {ControlFields} fields
   * @returns {Promise<WireEvent>}
   */
  decline(chat_id, user_id, fields) {
    return this.#api.signedIn("DELETE", `${pathOf(chat_id)}/requests/${user_id}?${new URLSearchParams(fields)}`);
  }
}

/** @param {string} chat_id */
const pathOf = (chat_id) => `/v1/chats/${encodeURIComponent(chat_id)}`;

/** @param {OpenGroup} group @returns {Step} */
export function stepOf({ is_member, has_asked, asks_to_join }) {
  if (is_member) return "open";
  if (has_asked) return "takeBack";
  return asks_to_join ? "ask" : "join";
}

/** The group after an event by which the user joined, asked to join or took that back. @param {OpenGroup} group @param {WireEvent} event @param {string} me */
export function afterStep(group, { message }, me) {
  const own = message?.control?.members?.find(({ user_id }) => user_id === me);
  return { ...group, is_member: own !== undefined && isMember(own), has_asked: (own?.asked_at_ms ?? "0") !== "0" };
}

/** The group, with what the page knows better: it receives the changes of the user's own groups. @param {OpenGroup} group @param {Pick<Chat, "group">} chat */
export const asKnown = (group, chat) => (chat.group ? { ...group, is_member: isMember(chat.group.own) } : group);
