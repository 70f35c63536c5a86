// Dialogs about people: someone's profile, one's own to change, and a new password.

import { explain, Problem } from "../api.js";
import { Client } from "../client.js";
import { h, setText } from "../dom.js";
import { displayName } from "../format.js";
import { avatar, showAvatar } from "./avatar.js";
import { iconButton } from "./buttons.js";
import { field, showProblems } from "./field.js";

/** @import {Profile} from "../types.js" */
/** @import {Field} from "./field.js" */

/** A modal that leaves the page when it is closed; Escape and a click beside it close it too. */
class Modal {
  /** @param {string} title @param {...(Node | string)} content */
  constructor(title, ...content) {
    const close = iconButton("Close", "close", () => this.close());
    const head = h("header", { class: "dialog-head" }, h("h2", {}, title), close);
    this.element = h("dialog", { class: "dialog", "aria-label": title }, head, ...content);
    this.element.addEventListener("close", () => this.element.remove());
    this.element.addEventListener("click", (event) => event.target === this.element && this.close());
  }

  open() {
    document.body.append(this.element);
    this.element.showModal();
  }

  close() {
    this.element.close();
  }
}

/** A modal with fields, which closes when the server took what was typed. */
class FormModal extends Modal {
  /**
   * @param {string} title
   * @param {string} action
   * @param {readonly Field[]} fields
   * @param {() => Promise<void>} save
   * @param {...Node} before
   */
  constructor(title, action, fields, save, ...before) {
    const error = h("p", { class: "note error", role: "alert" });
    const button = h("button", { class: "primary", type: "submit" }, action);
    const form = h("form", { novalidate: true }, ...before, ...fields.map((one) => one.element), error, button);
    super(title, form);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      button.disabled = true;
      setText(error, "");
      try {
        await save();
        this.close();
      } catch (fault) {
        const shown = fault instanceof Problem && showProblems(fields, { [fault.field]: explain(fault) });
        if (!shown) setText(error, explain(fault));
      } finally {
        button.disabled = false;
      }
    });
  }
}

/** Someone's profile. */
export class ProfileDialog extends Modal {
  /** @param {Profile} profile */
  constructor(profile) {
    super("Profile", person(profile), profile.about ? h("p", { class: "about" }, profile.about) : "");
  }
}

/** One's own profile, to change. */
export class OwnProfile extends FormModal {
  /** @param {Client} client */
  constructor(client) {
    const { me } = client;
    const name = field({
      label: "Your name",
      name: "display_name",
      attributes: { maxlength: 64, autocomplete: "name" },
    });
    const about = field({
      label: "About you",
      name: "about",
      hint: "Up to 200 characters.",
      long: true,
      attributes: { maxlength: 200, rows: 3 },
    });
    name.input.value = me.display_name;
    about.input.value = me.about ?? "";
    const save = async () => {
      try {
        await client.changeProfile({ display_name: name.input.value.trim(), about: about.input.value.trim() });
      } catch (fault) {
        if (fault instanceof Problem && fault.code === "version_conflict") await client.refreshMe();
        throw fault;
      }
    };
    super("Your profile", "Save", [name, about], save, person(me));
  }
}

export class ChangePassword extends FormModal {
  /** @param {Client} client */
  constructor(client) {
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
    const save = () => client.api.changePassword(current.input.value, fresh.input.value);
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
    h("strong", {}, displayName(profile)),
    h("span", { class: "soft" }, `@${profile.name}`),
  );
}
