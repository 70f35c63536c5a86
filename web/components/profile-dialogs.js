// Dialogs about users: another user's profile, the user's own profile, and a new password.

import { Api, Problem } from "../api.js";
import { h } from "../dom.js";
import { displayName, userName } from "../format.js";
import { Chats } from "../stores/chats.js";
import { avatar, showAvatar } from "./avatar.js";
import { field } from "./field.js";
import { FormModal, Modal } from "./modal.js";

/** @import {Profile} from "../types.js" */

/** Another user's profile. */
export class ProfileDialog extends Modal {
  /** @param {Profile} profile */
  constructor(profile) {
    super("Profile", person(profile), profile.about ? h("p", { class: "about", dir: "auto" }, profile.about) : "");
  }
}

/** The user's own profile, to edit. */
export class OwnProfile extends FormModal {
  /** @param {Chats} chats */
  constructor(chats) {
    const { me } = chats;
    const name = field({
      label: "Your name",
      name: "display_name",
      attributes: { maxlength: 64, autocomplete: "name", dir: "auto" },
    });
    const about = field({
      label: "About you",
      name: "about",
      hint: "Up to 200 characters.",
      long: true,
      attributes: { maxlength: 200, rows: 3, dir: "auto" },
    });
    name.input.value = me.display_name;
    about.input.value = me.about ?? "";
    const save = async () => {
      try {
        await chats.changeProfile({ display_name: name.input.value.trim(), about: about.input.value.trim() });
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
    const current = field({
      label: "Current password",
      name: "current_password",
      attributes: { ...password, autocomplete: "current-password" },
    });
    const fresh = field({
      label: "New password",
      name: "new_password",
      hint: "At least 10 characters: a short sentence works well.",
      attributes: { ...password, autocomplete: "new-password" },
    });
    const save = () => api.changePassword(current.input.value, fresh.input.value);
    super("Change password", "Change password", [current, fresh], save);
  }
}

/** @param {Profile} profile */
function person(profile) {
  const picture = avatar();
  showAvatar(picture, profile);
  return h(
    "div",
    { class: "person" },
    picture,
    h("strong", { dir: "auto" }, displayName(profile)),
    h("span", { class: "soft" }, userName(profile)),
  );
}
