// What forms of groups have in common: their texts for wrong values and for refusals of the server.

import { Problem } from "../api.js";
import { fits, refusedSetting, refusedUser } from "../group-changes.js";
import { MAX_CHANNEL_MEMBERS, MAX_MEMBERS, roomIn } from "../groups.js";
import { dialogTexts } from "../languages/dialogs.js";
import { check, Invalid } from "./form.js";
import { nameOf } from "./group-members.js";

/** @import {Chats} from "../stores/chats.js" */
/** @import {Group} from "../types.js" */

/** @param {{name: string, topic: string}} settings @throws {Invalid} if one is missing or too long */
export function checkSettings({ name, topic }) {
  const { typeName, nameRule, topicRule } = dialogTexts.group;
  check({
    name: !name ? typeName : fits("name", name) ? "" : nameRule,
    topic: fits("topic", topic) ? "" : topicRule,
  });
}

/** The fault to show for a refusal, with the name of the setting or the person that is refused. @param {unknown} fault */
export function settingsFault(fault) {
  const { nameRule, topicRule } = dialogTexts.group;
  const field = refusedSetting(fault);
  return field ? new Invalid({ [field]: field === "name" ? nameRule : topicRule }) : fault;
}

/** Why a group gets no more members. @param {boolean} [isChannel] */
export function fullText(isChannel = false) {
  return isChannel ? dialogTexts.channel.full(MAX_CHANNEL_MEMBERS) : dialogTexts.group.full(MAX_MEMBERS);
}

/**
 * The fault to show for a refusal of users: that the group has no room for them, or the name of the one who is refused.
 * @param {unknown} fault
 * @param {readonly string[]} user_ids of the request
 * @param {Pick<Chats, "profiles">} chats
 * @param {Pick<Group, "settings" | "member_count"> | null} [group] null for one that is to be created
 */
export function peopleFault(fault, user_ids, { profiles }, group = null) {
  const isTooLarge = fault instanceof Problem && fault.code === "too_large"; // there are other limits than that of members
  if (isTooLarge && group && roomIn(group) < user_ids.length) return new Invalid({}, fullText(group.settings.is_channel));
  const refused = refusedUser(fault, user_ids);
  return refused ? new Invalid({}, dialogTexts.groupPeople.refused(nameOf(profiles.get(refused)))) : fault;
}
