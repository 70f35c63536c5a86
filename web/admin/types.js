// The shapes of `/v1/admin`, for the type checker alone: nothing imports this file when the page runs.

/**
 * The last report of a process.
 * @typedef {object} Process
 * @property {string} instance
 * @property {string} role
 * @property {string} version
 * @property {number} started_at_ms
 * @property {number} seen_at_ms
 * @property {boolean} ready
 * @property {{websocket: number, grpc: number} | null} sessions null if its role has none; the same for the fields below
 * @property {number[] | null} owned partitions
 * @property {Record<string, number> | null} lag by partition, in records
 */
/** @typedef {{partition: number, owner: string | null}} Partition owner is an instance */
/** @typedef {{processes: Process[], partitions: Partition[], now_ms: number}} Processes */

/** @typedef {number | string} Value of a key of the live configuration */
/**
 * @typedef {object} Setting
 * @property {string} key
 * @property {Value} value
 * @property {Value} default
 * @property {boolean} is_set
 * @property {string} description
 * @property {string} bounds in words
 */
/** @typedef {{values: Setting[]}} Settings */
/** @typedef {{user_id: string, name: string} | {command: string}} Actor a user, or the system user of a command */
/**
 * @typedef {object} Change
 * @property {string} id
 * @property {number} at_ms
 * @property {string} by `ada (123)`, or `command:root`
 * @property {string} key
 * @property {Value | null} old null for the default
 * @property {Value | null} new
 */

/**
 * @typedef {object} Account
 * @property {string} user_id
 * @property {string} name
 * @property {string} display_name
 * @property {number} created_at_ms
 * @property {boolean} is_admin
 * @property {number | null} suspended_at_ms
 * @property {string} suspended_reason
 */
/**
 * @typedef {object} Invite
 * @property {string} invite_id
 * @property {string} created_by `ada (123)`, or `command:root`
 * @property {number} created_at_ms
 * @property {number} expires_at_ms
 * @property {number} uses
 * @property {number} uses_left
 */
/** @typedef {{family_id: string, device_name: string, created_at_ms: number}} DeviceSignIn */
/** @typedef {Account & {sign_ins: DeviceSignIn[]}} AccountDetails */

/**
 * @typedef {object} AuditEntry
 * @property {string} id
 * @property {number} at_ms
 * @property {Actor} actor
 * @property {string} act
 * @property {string} target
 * @property {string} detail
 * @property {string} address
 */
/** @typedef {{entries: AuditEntry[], next: string | null}} AuditPage */

/** @import {HistoryMessage} from "../wire.js" */
/** @typedef {"handled" | "dismissed"} Resolution */
/** @typedef {HistoryMessage} ReportedMessage as it was when it was reported */
/**
 * @typedef {object} Report
 * @property {string} report_id
 * @property {number} created_at_ms
 * @property {string} reporter_id
 * @property {string} user_id
 * @property {string} chat_id of the messages; empty without one
 * @property {string} chat_name of a group; empty if it is unknown
 * @property {ReportedMessage[]} messages
 * @property {string} reason
 * @property {Resolution | null} resolution null while it is open; the same for closed_by and closed_at_ms
 * @property {string} note
 * @property {string | null} closed_by
 * @property {number | null} closed_at_ms
 */
/** @typedef {{reports: Report[], users: Account[], next: string | null}} ReportPage */
export {};
