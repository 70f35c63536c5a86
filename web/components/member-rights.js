// The permissions that only one member of a group has or lacks. Others may change them meanwhile: only what is chosen here
// is saved.

import { masksOf, rightsOf } from "../group-actions.js";
import { GroupChanges } from "../group-changes.js";
import { isMember, PERMISSIONS, permissionsOf } from "../groups.js";
import { compareIds } from "../ids.js";
import { dialogTexts } from "../languages/dialogs.js";
import { h } from "../view.js";
import { FormModal } from "./modal.js";

/** @import {App} from "./app-shell.js" */
/** @import {Permission} from "../groups.js" */
/** @import {Group} from "../types.js" */
/** @import {ListMembersResponse, Member} from "../wire.js" */

/** The archive lags behind sessions: the pauses after which the member is read again, in milliseconds. */
const PAUSES_MS = [250, 500, 1_000, 2_000];

export class MemberRights extends FormModal {
  /**
   * @param {Pick<App, "api" | "chats">} app
   * @param {string} chat_id of a group that is loaded
   * @param {Member} member
   * @param {string} name of the member
   * @param {() => void} done called when the permissions are saved
   */
  constructor({ api, chats }, chat_id, member, name, done) {
    const { title, words, save } = dialogTexts.memberRights;
    const { settings, own } = /** @type {Group} */ (chats.of(chat_id).group);
    const given = permissionsOf(settings, own);
    const changes = new GroupChanges(api, chats, chat_id);
    const { user_id } = member;
    const names = /** @type {Permission[]} */ (Object.keys(PERMISSIONS));
    const shown = rightsOf(member);
    const selects = names.map((each) => select(each, shown[each], (given & PERMISSIONS[each]) > 0));
    const send = async (/** @type {Record<string, string>} */ values) => {
      const chosen = names.filter((each) => values[each] !== shown[each]).map((each) => [each, values[each]]);
      const { present, version } = await read({ api, chats }, chat_id, user_id);
      const masks = masksOf(present, { ...rightsOf(present), ...Object.fromEntries(chosen) });
      const { allow = "0", deny = "0" } = present;
      const isSaved = isMember(present) && allow === masks.allow && deny === masks.deny; // the server refuses to save it again
      if (!isSaved)
        await changes.send([user_id, masks], (fields) =>
          api.changeMember(chat_id, user_id, { ...fields, expected_version: version, ...masks }),
        );
      done();
    };
    super(title, save, [], send, h("p", {}, words(name)), selects);
  }
}

/**
 * Reads a member, and the version of the group, until the archive has the changes that the page knows.
 * @param {Pick<App, "api" | "chats">} app
 * @param {string} chat_id
 * @param {string} user_id
 */
async function read({ api, chats }, chat_id, user_id) {
  const path = `/v1/chats/${encodeURIComponent(chat_id)}/members?user_ids=${user_id}`;
  for (const pauses_ms = [...PAUSES_MS]; ; ) {
    /** @type {ListMembersResponse} */
    const { members: [present = { user_id }] = [], version = "0" } = await api.signedIn("GET", path);
    const pause_ms = pauses_ms.shift();
    const isCurrent = compareIds(version, chats.of(chat_id).group?.version ?? "0") >= 0;
    if (isCurrent || !pause_ms) return { present, version };
    await new Promise((resolve) => setTimeout(resolve, pause_ms));
  }
}

/** @param {Permission} name @param {string} right @param {boolean} canGive whether the user may give this permission */
function select(name, right, canGive) {
  const { names, rights } = dialogTexts.memberRights;
  const option = (/** @type {keyof typeof rights} */ value) => {
    const isDisabled = value === "allow" && !canGive && right !== "allow";
    return h("option", { value, selected: value === right, disabled: isDisabled }, rights[value]);
  };
  const id = `right-${name}`;
  return h(
    "div",
    { class: "field right", key: name },
    h("label", { for: id }, { ...dialogTexts.groupSettings.may, ...names }[name]),
    h("select", { id, name }, option("role"), option("allow"), option("deny")),
  );
}
