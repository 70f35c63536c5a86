// Groups: roles, permissions, and the fold of control changes into a group's state. The twin of
// `shared/contract/groups.py`. Pure functions on immutable values.

import { compareIds, idAbove, isGroup } from "./ids.js";

/** @import {Chat, Group} from "./types.js" */
/** @import {Chat as WireChat, Control, GroupSettings, Member, Role} from "./wire.js" */

/** Members of a group that is no channel, and of a channel. */
export const MAX_MEMBERS = 1_000;
export const MAX_CHANNEL_MEMBERS = 100_000;

/** Members of a group up to which the others learn how far each has read, and what has reached their devices. */
const MAX_READ_MEMBERS = 100;
const MAX_DELIVERED_MEMBERS = 32;

/** Users whom one request adds. */
export const MAX_ADDED = 999;

/** How many members a group can still get. @param {Pick<Group, "settings" | "member_count">} group */
export const roomIn = ({ settings, member_count }) =>
  (settings.is_channel ? MAX_CHANNEL_MEMBERS : MAX_MEMBERS) - member_count;

/** The values of a mask of permissions, as in groups.proto. */
export const PERMISSIONS = Object.freeze({
  POST: 1,
  REACT: 2,
  PIN: 4,
  ADD_MEMBERS: 8,
  EDIT_SETTINGS: 16,
  DELETE_MESSAGES: 32,
  REMOVE_MEMBERS: 64,
  MANAGE: 128,
  MENTION_EVERYONE: 256,
});
/** @typedef {keyof typeof PERMISSIONS} Permission */

const ALL = Object.values(PERMISSIONS).reduce((all, one) => all | one, 0);
/** Of the group's permissions, those that guests have. */
const OF_GUESTS = PERMISSIONS.POST | PERMISSIONS.REACT;

/** In rising order of power. @type {readonly Role[]} */
export const ROLES = ["ROLE_UNSPECIFIED", "ROLE_GUEST", "ROLE_MEMBER", "ROLE_ADMIN", "ROLE_OWNER"];

/** Whether the user is a member now. @param {{role?: Role}} [member] */
export const isMember = (member) => ROLES.indexOf(member?.role ?? "ROLE_UNSPECIFIED") > 0;

/**
 * Whether the user of a control change has asked to join, taken that back or been declined: they are no member, before
 * and after it.
 * @param {Member} changed
 */
export const isRequest = (changed) => !isMember(changed) && !isMember({ role: changed.former_role });

/** The known permissions in a mask, which JSON has as a string. @param {string} [mask] */
export const maskOf = (mask = "0") => Number(BigInt(mask) & BigInt(ALL));

/**
 * The mask of a member's permissions: of their role, then those that only they have or lack. The owner has all.
 * @param {GroupSettings} settings
 * @param {Member} member
 */
export function permissionsOf(settings, member) {
  const { role } = member;
  if (role === "ROLE_OWNER") return ALL;
  if (!isMember(member)) return 0;
  const ofMembers = maskOf(settings.permissions);
  const granted = role === "ROLE_ADMIN" ? ALL : role === "ROLE_GUEST" ? ofMembers & OF_GUESTS : ofMembers;
  return (granted | maskOf(member.allow)) & ~maskOf(member.deny);
}

/**
 * Whether the user of this page has a permission in a chat. Both members of a direct chat may post, react and pin.
 * @param {Chat} chat
 * @param {Permission} permission
 */
export function may({ chat_id, group }, permission) {
  const mask = PERMISSIONS[permission];
  if (!isGroup(chat_id)) return (mask & (PERMISSIONS.POST | PERMISSIONS.REACT | PERMISSIONS.PIN)) > 0;
  return group !== null && (permissionsOf(group.settings, group.own) & mask) > 0;
}

/** @param {Group} group @param {number} most members */
const isSmall = ({ settings, member_count }, most) => !settings.is_channel && member_count <= most;

/** Whether others learn what has reached a device of each member. @param {Pick<Chat, "group">} chat */
export const showsDelivered = ({ group }) => !group || isSmall(group, MAX_DELIVERED_MEMBERS);

/** Whether the others learn how far each member of a group has read. @param {Pick<Chat, "group">} chat */
export const showsRead = ({ group }) => group !== null && isSmall(group, MAX_READ_MEMBERS);

/** Whether the user of this page was a member of the group, and is not now. @param {Pick<Chat, "group">} chat */
export const isFormer = ({ group }) => group !== null && !isMember(group.own);

/**
 * Whether the user may read more of a group than before: they are a member again, or members may read all its history.
 * @param {Chat} before
 * @param {Chat} chat
 */
export function canReadMore(before, chat) {
  if (!before.group || !chat.group || !isMember(chat.group.own)) return false;
  return isFormer(before) || (chat.group.settings.shows_history === true && !before.group.settings.shows_history);
}

/** The state of a group as the archive returned it; null for another chat. @param {WireChat} wire @returns {Group | null} */
export function groupFromWire({ version = "0", settings, member_count = 0, own }) {
  return settings && own ? { version, settings, member_count, own } : null;
}

/** @param {string} me @returns {Group} the state before the creation */
const before = (me) => ({ version: "0", settings: { name: "" }, member_count: 0, own: { user_id: me } });

/**
 * The chat after a control change; the same object if its state includes the change. A change after a missing one
 * waits in `chat.later`.
 * @param {Chat} chat
 * @param {Control} control
 * @param {string} me
 * @returns {Chat}
 */
export function withControl(chat, control, me) {
  if (compareIds(control.version, chat.group?.version ?? "0") <= 0) return chat;
  if (chat.later.some(({ version }) => version === control.version)) return chat;
  return inOrder({ ...chat, later: [...chat.later, control] }, me);
}

/**
 * The chat with the newer of two states of its group, and the later control changes of both.
 * @param {Chat} chat
 * @param {Chat} other the same chat
 * @param {string} me
 */
export function withGroupOf(chat, other, me) {
  const isNewer = compareIds(other.group?.version ?? "0", chat.group?.version ?? "0") > 0;
  const newest = isNewer ? { ...chat, group: other.group } : chat;
  return other.later.reduce((all, control) => withControl(all, control, me), newest);
}

/** Applies the later changes up to the first missing one. @param {Chat} chat @param {string} me @returns {Chat} */
function inOrder({ ...chat }, me) {
  const later = [...chat.later].sort((one, other) => compareIds(one.version, other.version));
  let group = chat.group ?? before(me);
  for (let next = later[0]; next && next.version === idAbove(group.version); next = later[0]) {
    group = after(group, next, me);
    later.shift();
  }
  return { ...chat, group: group.version === "0" ? null : group, later };
}

/** @param {Group} group @param {Control} control the next one @param {string} me @returns {Group} */
function after(group, { version, settings, members = [], member_count }, me) {
  const joined = members.filter((member) => isMember(member) && !isMember({ role: member.former_role }));
  const left = members.filter((member) => !isMember(member) && isMember({ role: member.former_role }));
  return {
    version,
    settings: settings ?? group.settings,
    member_count: member_count || group.member_count + joined.length - left.length,
    own: members.find(({ user_id }) => user_id === me) ?? group.own,
  };
}
