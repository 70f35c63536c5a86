// What a member of a group may do with another member, by their roles and permissions. Pure functions.

import { maskOf, PERMISSIONS, permissionsOf, ROLES } from "./groups.js";

/** @import {Permission} from "./groups.js" */
/** @import {GroupSettings, Member, Role} from "./wire.js" */

/**
 * @typedef {object} MemberActions
 * @property {readonly Role[]} roles that the member can get, the most powerful first
 * @property {boolean} canGetGroup whether the group can be handed over to the member
 * @property {boolean} canBeRemoved
 * @property {boolean} canGetRights whether permissions can be given to the member alone, or taken from them
 */

/** @type {MemberActions} */
const NONE = { roles: [], canGetGroup: false, canBeRemoved: false, canGetRights: false };

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
    canGetRights: (permissions & PERMISSIONS.MANAGE) > 0,
  };
}

/** Whether a member has a permission as their role has it, or only they have or lack it. @typedef {"role" | "allow" | "deny"} Right */

/** The permissions of a member that are not those of their role. @param {Member} member @returns {Record<Permission, Right>} */
export function rightsOf({ allow, deny }) {
  const [allowed, denied] = [maskOf(allow), maskOf(deny)];
  const right = (/** @type {number} */ bit) => (denied & bit ? "deny" : allowed & bit ? "allow" : "role");
  return /** @type {Record<Permission, Right>} */ (
    Object.fromEntries(Object.entries(PERMISSIONS).map(([name, bit]) => [name, right(bit)]))
  );
}

/**
 * The masks of a member with these permissions of their own; permissions that the page does not know stay.
 * @param {Member} member
 * @param {Record<string, string>} rights by permission
 */
export function masksOf({ allow = "0", deny = "0" }, rights) {
  const mask = (/** @type {Right} */ right, /** @type {string} */ before) => {
    const bits = Object.entries(PERMISSIONS).reduce((all, [name, bit]) => all | (rights[name] === right ? bit : 0), 0);
    return String(BigInt(before) - BigInt(maskOf(before)) + BigInt(bits));
  };
  return { allow: mask("allow", allow), deny: mask("deny", deny) };
}
