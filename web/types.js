// The types of the HTTP API and of the page, for the type checker alone: nothing imports this file at run time. The
// types of frames, chats and history on the wire are in `wire.js`.

/** @import {State} from "./changes.js" */
/** @import {Change, Control, FileInfo, GroupSettings, Mention, Member} from "./wire.js" */

/**
 * A deleted account keeps only its id: its name is empty.
 * @typedef {object} Profile
 * @property {string} user_id
 * @property {string} name
 * @property {string} display_name
 * @property {string} about
 * @property {string} [avatar] the token of the user's picture; empty for none
 * @property {boolean} [deleted]
 */
/**
 * A sign-in of the user; times in milliseconds since 1970.
 * @typedef {object} SignInDetails
 * @property {string} sign_in_id
 * @property {string} device_name often empty
 * @property {string} created_at_ms
 * @property {string} last_seen_at_ms the time of its last refresh
 * @property {boolean} is_current whether it is this browser's sign-in
 */
/** @typedef {{profiles: Profile[], next_cursor?: string}} ProfilesPage */
/**
 * @typedef {Profile & {version: number | string, created_at_ms: string, is_admin?: boolean, who_may_start?: WhoMayStart,
 *   shows_presence?: boolean, shows_read_marks?: boolean}} User
 */
/** Whose first message in a direct chat the user receives. @typedef {"everyone" | "connections"} WhoMayStart */
/**
 * @typedef {object} Tokens
 * @property {string} access_token
 * @property {string} access_token_expires_at_ms milliseconds since 1970
 * @property {string} refresh_token
 * @property {User} user
 */

/**
 * A message in the page. Immutable: a change makes a new object.
 * @typedef {object} Message
 * @property {string} key stays the same from the send on, so that the element on the page is kept
 * @property {string} message_id empty until it is accepted
 * @property {string} chat_id
 * @property {string} sender_id
 * @property {string} client_message_id
 * @property {string} body as it was sent; `textOf` returns the edited text. Empty if the message is deleted, or if only
 * a newer version knows the content
 * @property {readonly Mention[]} mentions in the body
 * @property {boolean} mentions_everyone whether the body mentions all members
 * @property {readonly MessageFile[]} files in the order in which they are shown; none if the message is deleted
 * @property {boolean} forwarded whether its text was copied from another message
 * @property {string} reply_to the message to which this one replies; empty if none
 * @property {number} at_ms milliseconds since 1970
 * @property {Control | null} [control] the change of the group that the message is; null for any other message
 * @property {State} changes its state, from which `kinds/` derive its text and its reactions
 * @property {"accepted" | "pending" | "failed"} state
 * @property {boolean} isChanging whether the user edited or deleted it, and the server has not accepted that yet
 * @property {string} error the reason of the failure, for people
 */
/**
 * A file of a message, as on the wire. One that this browser uploads has a client_file_id, an empty file_id until the
 * upload is complete, and its later file_id as upload_id once the server has begun it; one that is forwarded has the
 * message in which the user reads it. A picture with keep_original is uploaded so that its bytes stay as they are. A file
 * with has_failed is the reason why its message has.
 * @typedef {FileInfo & {client_file_id?: string, upload_id?: string, chat_id?: string, message_id?: string, keep_original?: boolean, has_failed?: boolean}} MessageFile
 */
/** @typedef {{delivered_up_to: string, read_up_to: string}} Marks */
/**
 * @typedef {object} Chat
 * @property {string} chat_id
 * @property {string[]} member_ids
 * @property {Message | null} newest
 * @property {string} newest_sent_id the id of the newest known message that is no control change; 0 if none is known
 * @property {number} unread
 * @property {number} unread_mentions of the unread messages, those that mention the user of this page
 * @property {State} changes the state of the chat itself, such as the marks of its members
 * @property {Group | null} group the state of a group; null for a direct chat, and until it is known
 * @property {readonly Control[]} later control changes that can't be applied yet, since one before them is missing
 */
/**
 * A group as after its newest known control change.
 * @typedef {object} Group
 * @property {string} version of the chat
 * @property {GroupSettings} settings
 * @property {number} member_count
 * @property {Member} own the user of this page: a member, or a former one
 */
/**
 * A message or a change that is not accepted yet.
 * @typedef {object} Queued
 * @property {string} client_id its client_message_id or client_change_id
 * @property {string} chat_id
 * @property {number} created_ms
 * @property {number} first_sent_ms 0 before the first sending
 * @property {"pending" | "failed"} state
 */
/**
 * The content of a new message: a body that is not empty, or files.
 * @typedef {object} Content
 * @property {string} body
 * @property {Mention[]} [mentions]
 * @property {boolean} [mentions_everyone]
 * @property {readonly MessageFile[]} [files]
 * @property {string} reply_to
 * @property {boolean} [forwarded]
 */
/** A message that is not accepted yet. @typedef {Queued & Content & {error: string}} Entry */
/** A change of the user that is not accepted yet. @typedef {Queued & {change: Change}} WaitingChange */
/**
 * An unsent text with its files: a new message, a reply, or the edit of a message.
 * @typedef {object} Draft
 * @property {string} text
 * @property {string} reply_to the message to which it replies; empty if none
 * @property {{message_id: string, text: string} | null} editing the edited message and its unsent text, beside `text`
 * @property {readonly MessageFile[]} files attached ones whose bytes this browser keeps, in order
 */
/** @typedef {"connecting" | "online" | "waiting" | "ended"} ConnectionState */
export {};
