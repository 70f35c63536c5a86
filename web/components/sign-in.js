// The form to sign in, to create an account, or to set a new password with the link of an admin.

import { Api, Problem } from "../api.js";
import { FirstStep, Uncertain } from "../first-step.js";
import { mark } from "../icons.js";
import { texts } from "../languages/language.js";
import { linkIn } from "../links.js";
import { h, Root } from "../view.js";
import { textButton } from "./buttons.js";
import { check, Form, Invalid, newPasswordProblem, newPasswordRule } from "./form.js";

/** @import {Values} from "./form.js" */
/** @import {Link} from "../links.js" */

const NAME = /^[a-z0-9._-]{3,32}$/;

const nameField = () => ({
  label: texts.signIn.userName,
  name: "name",
  attributes: {
    ...{ autocomplete: "username", autocapitalize: "none", spellcheck: "false" },
    ...{ maxlength: 32, required: true },
  },
});
const displayNameField = () => ({
  label: texts.signIn.yourName,
  name: "display_name",
  hint: texts.signIn.yourNameHint,
  attributes: { autocomplete: "name", maxlength: 64, dir: "auto" },
});
const passwordField = () => ({
  label: texts.signIn.password,
  name: "password",
  attributes: { autocapitalize: "none", spellcheck: "false", required: true },
});

/** @typedef {"signIn" | "create" | "reset"} Purpose */

/** The purpose with which a link opens the form. @type {Record<Link["kind"], Purpose>} */
const PURPOSES = { "": "signIn", join: "signIn", invite: "create", reset: "reset" };

/**
 * The texts of the form; `other` switches to another purpose.
 * @param {Purpose} purpose
 * @returns {{title: string, lead: string, submit: string, other: string}}
 */
function words(purpose) {
  return {
    signIn: {
      ...{ title: texts.signIn.title, lead: texts.signIn.lead },
      ...{ submit: texts.signIn.submit, other: texts.create.toCreate },
    },
    create: {
      ...{ title: texts.create.title, lead: texts.create.lead },
      ...{ submit: texts.create.submit, other: texts.signIn.toSignIn },
    },
    reset: {
      ...{ title: texts.reset.title, lead: texts.reset.lead },
      ...{ submit: texts.reset.submit, other: texts.reset.toSignIn },
    },
  }[purpose];
}

export class SignIn {
  element = document.createElement("rookery-sign-in");
  /** @type {Root} */
  #root = new Root(this.element, () => this.#view());
  #form = new Form(this.#root, (values) => this.#send(values));
  #firstStep;
  #isPasswordShown = false;
  #link = linkIn(location.hash);
  /** @type {Purpose} */
  #purpose = PURPOSES[this.#link.kind];

  /** @param {Api} api @param {string} notice @param {() => void} done */
  constructor(api, notice, done) {
    this.api = api;
    this.#firstStep = new FirstStep((name, password) => api.signIn(name, password));
    this.notice = notice;
    this.done = done;
    this.element.className = "sign-in";
  }

  /** Shows the form in `element`, which is on the page. */
  start() {
    this.#root.after(() => this.#focusFirst());
    this.#root.render();
  }

  #view() {
    const { title, lead, submit, other } = words(this.#purpose);
    const isSignIn = this.#purpose === "signIn";
    const fields = [
      this.#purpose !== "reset" && this.#form.field({ ...nameField(), hint: isSignIn ? "" : texts.refusedField.name }),
      this.#purpose === "create" && this.#form.field(displayNameField()),
      this.#form.field({
        ...{ ...passwordField(), hint: isSignIn ? "" : newPasswordRule() },
        attributes: {
          ...passwordField().attributes,
          type: this.#isPasswordShown ? "text" : "password",
          autocomplete: isSignIn ? "current-password" : "new-password",
        },
      }),
      this.#showsPassword(),
    ];
    return h(
      "main",
      {},
      h(
        "form",
        { class: "card", ...this.#form.props },
        mark(),
        h("h1", {}, title),
        h("p", { class: "lead" }, (isSignIn && this.notice) || (this.#link.kind === "join" ? texts.signIn.toJoin : lead)),
        fields,
        this.#form.error(),
        this.#form.submitButton(submit),
        textButton("quiet", () => this.#show(isSignIn ? "create" : "signIn"), other),
      ),
    );
  }

  #showsPassword() {
    const props = {
      type: "checkbox",
      checked: this.#isPasswordShown,
      onchange: (/** @type {Event} */ { target }) => {
        this.#isPasswordShown = /** @type {HTMLInputElement} */ (target).checked;
        this.#root.invalidate();
      },
    };
    return h("label", { class: "choice", key: "shown" }, h("input", props), texts.signIn.showPassword);
  }

  /** @param {Purpose} purpose */
  #show(purpose) {
    this.#purpose = purpose;
    this.#form.clear();
    this.#root.after(() => this.#focusFirst());
  }

  #focusFirst() {
    this.#form.input(this.#purpose === "reset" ? "password" : "name")?.focus();
  }

  /** @param {Values} values @throws {Invalid} */
  async #send({ name: typed = "", display_name: shown = "", password = "" }) {
    const name = typed.trim().toLowerCase();
    check(this.#problems(name, password));
    try {
      await this.#request(name, shown.trim(), password);
    } catch (fault) {
      if (fault instanceof Uncertain) throw new Invalid({}, texts.reset.perhapsSet);
      if (fault instanceof Problem && fault.status === 401)
        throw new Invalid({ password: texts.signIn.wrong });
      if (fault instanceof Problem && fault.code === "name_taken")
        throw new Invalid({ name: texts.refused.name_taken });
      throw fault;
    }
    if (this.#link.kind && this.#link.kind !== "join") history.replaceState(null, "", location.pathname); // the chats open the group
    this.done();
  }

  /** @param {string} name @param {string} display_name @param {string} password */
  async #request(name, display_name, password) {
    const { kind, token } = this.#link;
    if (this.#purpose === "signIn") return this.api.signIn(name, password);
    if (this.#purpose === "reset") return this.#firstStep.run(() => this.api.resetPassword(token, password), password);
    const invite = kind === "invite" ? token : "";
    const account = { name, password, ...(display_name && { display_name }), ...(invite && { invite }) };
    return this.#firstStep.run(() => this.api.register(account), password, name);
  }

  /** @param {string} name @param {string} password @returns {Values} */
  #problems(name, password) {
    if (this.#purpose === "create") return { name: nameProblem(name), password: newPasswordProblem(password) };
    if (this.#purpose === "reset") return { password: newPasswordProblem(password) };
    return { name: name ? "" : texts.signIn.typeName, password: password ? "" : texts.typeYourPassword };
  }
}

/** @param {string} name */
const nameProblem = (name) => (NAME.test(name) ? "" : texts.refusedField.name);
