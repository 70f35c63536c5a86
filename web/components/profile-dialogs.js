// Dialogs about users: another user's profile, the user's own profile, and a new password.

import { Api, Problem } from "../api.js";
import { displayName, userName } from "../format.js";
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
    super("Profile", () => [person(profile), profile.about && h("p", { class: "about", dir: "auto" }, profile.about)]);
  }
}

/** The user's own profile, to edit. */
export class OwnProfile extends FormModal {
  /** @param {Chats} chats */
  constructor(chats) {
    const { me } = chats;
    const name = {
      label: "Your name",
      name: "display_name",
      value: me.display_name,
      attributes: { maxlength: 64, autocomplete: "name", dir: "auto" },
    };
    const about = {
      label: "About you",
      name: "about",
      hint: "Up to 200 characters.",
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
    super("Your profile", "Save", [name, about], save, person(me));
  }
}

export class ChangePassword extends FormModal {
  /** @param {Api} api */
  constructor(api) {
    const password = { type: "password", maxlength: 128 };
    const current = {
      label: "Current password",
      name: "current_password",
      attributes: { ...password, autocomplete: "current-password" },
    };
    const fresh = {
      label: "New password",
      name: "new_password",
      hint: "At least 10 characters: a short sentence works well.",
      attributes: { ...password, autocomplete: "new-password" },
    };
    const save = (/** @type {Values} */ { current_password = "", new_password = "" }) =>
      api.changePassword(current_password, new_password);
    super("Change password", "Change password", [current, fresh], save);
  }
}

/** @param {Profile} profile */
function person(profile) {
  return h(
    "div",
    { class: "person" },
    avatar(profile),
    h("strong", { dir: "auto" }, displayName(profile)),
    h("span", { class: "soft" }, userName(profile)),
  );
}
