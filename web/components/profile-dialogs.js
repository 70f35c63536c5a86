// Dialogs about users: another user's profile, and the user's own.

import { Problem } from "../api.js";
import { displayName, userName } from "../format.js";
import { dialogTexts } from "../languages/dialogs.js";
import { Chats } from "../stores/chats.js";
import { h } from "../view.js";
import { avatar } from "./avatar.js";
import { FormModal, Modal } from "./modal.js";

/** @import {Values} from "./form.js" */
/** @import {Profile} from "../types.js" */

/** Another user's profile. */
export class ProfileDialog extends Modal {
  /** @param {Profile} profile */
  constructor(profile) {
    super(dialogTexts.profile.title, () => [person(profile), profile.about && h("p", { class: "about", dir: "auto" }, profile.about)]);
  }
}

/** The user's own profile, to edit. */
export class OwnProfile extends FormModal {
  /** @param {Chats} chats */
  constructor(chats) {
    const { me } = chats;
    const name = {
      label: dialogTexts.profile.name,
      name: "display_name",
      value: me.display_name,
      attributes: { maxlength: 64, autocomplete: "name", dir: "auto" },
    };
    const about = {
      label: dialogTexts.profile.about,
      name: "about",
      hint: dialogTexts.profile.aboutHint,
      long: true,
      value: me.about ?? "",
      attributes: { maxlength: 200, rows: 3, dir: "auto" },
    };
    const save = async (/** @type {Values} */ { display_name = "", about = "" }) => {
      try {
        await chats.changeProfile({ display_name: display_name.trim(), about: about.trim() });
      } catch (fault) {
        if (fault instanceof Problem && fault.code === "version_conflict") await chats.refreshMe();
        throw fault;
      }
    };
    super(dialogTexts.profile.own, dialogTexts.profile.save, [name, about], save, person(me));
  }
}

/** @param {Profile} profile */
function person(profile) {
  return h(
    "div",
    { class: "person" },
    avatar(profile),
    h("strong", { dir: "auto" }, displayName(profile)),
    h("bdi", { class: "soft" }, userName(profile)),
  );
}
