// What a member of a group may do with another member, by their roles and permissions. Pure functions.

import { PERMISSIONS, permissionsOf, ROLES } from "./groups.js";

/** @import {GroupSettings, Member, Role} from "./wire.js" */

/**
 * @typedef {object} MemberActions
 * @property {readonly Role[]} roles that the member can get, the most powerful first
 * @property {boolean} canGetGroup whether the group can be handed over to the member
 * @property {boolean} canBeRemoved
 */

/** @type {MemberActions} */
const NONE = { roles: [], canGetGroup: false, canBeRemoved: false };

/** @param {Member} member */
const powerOf = ({ role = "ROLE_UNSPECIFIED" }) => ROLES.indexOf(role);

/**
 * The actions on another member: on those with a lower role, and up to one's own role.
 * @param {GroupSettings} settings
 * @param {Member} own the acting member
 * @param {Member} member
 * @returns {MemberActions}
 */
export function actionsOn(settings, own, member) {
  const power = powerOf(own);
  if (member.user_id === own.user_id || powerOf(member) >= power) return NONE;
  const permissions = permissionsOf(settings, own);
  const roles = /** @type {Role[]} */ (["ROLE_ADMIN", "ROLE_MEMBER", "ROLE_GUEST"]);
  const isGrantable = (/** @type {Role} */ role) => role !== member.role && ROLES.indexOf(role) <= power;
  return {
    roles: permissions & PERMISSIONS.MANAGE ? roles.filter(isGrantable) : [],
    canGetGroup: own.role === "ROLE_OWNER",
    canBeRemoved: (permissions & PERMISSIONS.REMOVE_MEMBERS) > 0,
  };
}
