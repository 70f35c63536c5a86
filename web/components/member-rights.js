// The permissions that only one member of a group has or lacks.

import { masksOf, rightsOf } from "../group-actions.js";
import { GroupChanges } from "../group-changes.js";
import { PERMISSIONS, permissionsOf } from "../groups.js";
import { dialogTexts } from "../languages/dialogs.js";
import { h } from "../view.js";
import { FormModal } from "./modal.js";

/** @import {App} from "./app-shell.js" */
/** @import {Permission} from "../groups.js" */
/** @import {Group} from "../types.js" */
/** @import {Member} from "../wire.js" */

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
    const selects = names.map((each) => select(each, rightsOf(member)[each], (given & PERMISSIONS[each]) > 0));
    const send = async (/** @type {Record<string, string>} */ values) => {
      const masks = masksOf(member, values);
      await changes.send([user_id, masks], (fields) => api.changeMember(chat_id, user_id, { ...fields, ...masks }));
      done();
    };
    super(title, save, [], send, h("p", {}, words(name)), selects);
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
