// The lines of a group about its control changes: whole sentences, such as "Ada added Grace".

import { nameList, withoutDirectionControls } from "./format.js";
import { isMember, isRequest } from "./groups.js";
import { texts } from "./languages/language.js";
import { Profiles } from "./profiles.js";

/** @import {Message} from "./types.js" */
/** @import {Control, Member} from "./wire.js" */

/** The most names in a sentence. */
const MAX_NAMES = 3;

/** @type {Partial<Record<NonNullable<Member["role"]>, "guest" | "member" | "admin" | "owner">>} */
const ROLES = { ROLE_GUEST: "guest", ROLE_MEMBER: "member", ROLE_ADMIN: "admin", ROLE_OWNER: "owner" };

/**
 * The sentences of a control change, as the user of the profiles sees it: one or more.
 * @param {Pick<Message, "sender_id" | "message_id">} message
 * @param {Control} control its control change
 * @param {Profiles} profiles
 * @returns {string[]}
 */
export function controlTexts({ sender_id, message_id }, control, profiles) {
  const { version, settings, changed = [], members = [], invites = [] } = control;
  const sentences = texts.control;
  const nameOf = (/** @type {string} */ user_id) => profiles.nameOf(user_id) || texts.message.someone;
  const isOwn = sender_id === profiles.me;
  const actor = nameOf(sender_id);
  /** @param {{own: string, other: (actor: string) => string}} one */
  const byActor = ({ own, other }) => (isOwn ? own : other(actor));
  /** @param {{own: (value: string) => string, other: (actor: string, value: string) => string}} one @param {string} value */
  const about = ({ own, other }, value) => (isOwn ? own(value) : other(actor, value));
  /**
   * @param {{own: (name: string) => string, you: (actor: string) => string, other: (actor: string, name: string) => string}} one
   * @param {Member} member
   */
  const of = ({ own, you, other }, { user_id }) =>
    user_id === profiles.me ? you(actor) : about({ own, other }, nameOf(user_id));

  const isChannel = settings?.is_channel;
  if (version === "1") return [about(isChannel ? sentences.createdChannel : sentences.created, shown(settings?.name))];
  const all = [];
  const joined = members.filter((member) => isMember(member) && !wasMember(member));
  const added = joined.filter(({ user_id }) => user_id !== sender_id);
  const self = joined.find(({ user_id }) => user_id === sender_id);
  if (self) all.push(byActor((self.invite_id ?? "0") === "0" ? sentences.joined : sentences.joinedByLink));
  if (added.some(({ user_id }) => user_id === profiles.me)) all.push(sentences.added.you(added.length - 1, actor));
  else if (added.length) {
    const [first, rest] = [added.slice(0, MAX_NAMES), added.slice(MAX_NAMES)];
    const others = rest.length ? [sentences.others(rest.length)] : [];
    all.push(about(sentences.added, nameList([...first.map(({ user_id }) => nameOf(user_id)), ...others])));
  }
  for (const member of members.filter((one) => !isMember(one) && wasMember(one)))
    all.push(member.user_id === sender_id ? byActor(sentences.left) : of(sentences.removed, member));
  const requests = members.filter(isRequest);
  const asking = requests.find(({ asked_at_ms = "0" }) => asked_at_ms !== "0");
  // A request to join may end the one of a deleted account, to make room: no member has declined that.
  for (const member of asking ? [asking] : requests) {
    if (member === asking) all.push(byActor(sentences.asked));
    else all.push(member.user_id === sender_id ? byActor(sentences.askedNoMore) : of(sentences.declined, member));
  }
  const owner = members.find(({ role, former_role }) => role === "ROLE_OWNER" && former_role !== role);
  for (const member of members.filter((one) => isMember(one) && wasMember(one))) {
    const isHandedOver = owner && member !== owner; // the former owner became an admin
    const role = ROLES[member.role ?? "ROLE_UNSPECIFIED"];
    if (isHandedOver || !role) continue;
    all.push(of(member.role === member.former_role ? sentences.rights : sentences[role], member));
  }
  for (const field of changed) {
    if (field === "name") all.push(about(sentences.name, shown(settings?.name)));
    else if (field === "topic" && !settings?.topic) all.push(byActor(sentences.noTopic));
    else if (field === "topic") all.push(about(sentences.topic, shown(settings?.topic)));
    else if (field === "permissions") all.push(byActor(sentences.permissions));
    else if (field === "shows_history")
      all.push(byActor(settings?.shows_history ? sentences.historyShown : sentences.historyHidden));
    else if (field === "is_channel") all.push(byActor(sentences.madeChannel));
    else if (field === "is_public") all.push(byActor(settings?.is_public ? sentences.madePublic : sentences.madePrivate));
    else if (field === "asks_to_join")
      all.push(byActor(settings?.asks_to_join ? sentences.approvalOn : sentences.approvalOff));
    else if (field === "avatar") all.push(byActor(settings?.avatar ? sentences.picture : sentences.noPicture));
    else if (field === "without_previews")
      all.push(byActor(settings?.without_previews ? sentences.previewsOff : sentences.previewsOn));
  }
  for (const { invite_id, is_revoked } of invites) {
    if (invite_id === message_id) all.push(byActor(sentences.inviteMade));
    else if (is_revoked) all.push(byActor(sentences.inviteRevoked));
  }
  return all.length ? all : [byActor(sentences.changed)];
}

/** @param {Member} member */
const wasMember = ({ former_role }) => isMember({ role: former_role });

/** A name or a topic, which can't disturb the sentence. @param {string} [text] */
const shown = (text = "") => withoutDirectionControls(text);

/** Whether a control change is about a user: it adds, removes or promotes them. @param {Control} control @param {string} user_id */
export const concerns = ({ members = [] }, user_id) => members.some((member) => member.user_id === user_id);
