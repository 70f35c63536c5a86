// The form to sign in, to create an account, or to set a new password with the link of an admin.

import { Api, Problem } from "../api.js";
import { mark } from "../icons.js";
import { linkIn } from "../links.js";
import { h, Root } from "../view.js";
import { textButton } from "./buttons.js";
import { check, Form, Invalid } from "./form.js";

/** @import {Values} from "./form.js" */

const SHORTEST_PASSWORD = 10;
const PASSWORD_RULE = `At least ${SHORTEST_PASSWORD} characters: a short sentence works well.`;
const NAME = /^[a-z0-9._-]{3,32}$/;
const NAME_RULE = "3 to 32 of the letters a to z, digits, dots, dashes and underscores.";

const NAME_FIELD = {
  label: "User name",
  name: "name",
  attributes: {
    ...{ autocomplete: "username", autocapitalize: "none", spellcheck: "false" },
    ...{ maxlength: 32, required: true },
  },
};
const DISPLAY_NAME_FIELD = {
  label: "Your name",
  name: "display_name",
  hint: "As others see it. You can change it later.",
  attributes: { autocomplete: "name", maxlength: 64 },
};
const PASSWORD_FIELD = {
  label: "Password",
  name: "password",
  attributes: { autocapitalize: "none", spellcheck: "false", maxlength: 128, required: true },
};

/** @typedef {"signIn" | "create" | "reset"} Purpose */

/** @type {Record<Purpose, {title: string, lead: string, submit: string, other: string}>} */
const WORDS = {
  signIn: {
    title: "Welcome to Rookery",
    lead: "Sign in to your team’s chat.",
    submit: "Sign in",
    other: "Create an account",
  },
  create: {
    title: "Create an account",
    lead: "Pick the name that others find you by.",
    submit: "Create account",
    other: "I have an account",
  },
  reset: {
    title: "Set a new password",
    lead: "You will be signed out on all your devices.",
    submit: "Set password",
    other: "Sign in instead",
  },
};

export class SignIn {
  element = document.createElement("rookery-sign-in");
  /** @type {Root} */
  #root = new Root(this.element, () => this.#view());
  #form = new Form(this.#root, (values) => this.#send(values));
  #isPasswordShown = false;
  #link = linkIn(location.hash);
  /** @type {Purpose} */
  #purpose = this.#link.kind === "invite" ? "create" : this.#link.kind || "signIn";

  /** @param {Api} api @param {string} notice @param {() => void} done */
  constructor(api, notice, done) {
    this.api = api;
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
    const { title, lead, submit, other } = WORDS[this.#purpose];
    const isSignIn = this.#purpose === "signIn";
    const fields = [
      this.#purpose !== "reset" && this.#form.field({ ...NAME_FIELD, hint: isSignIn ? "" : NAME_RULE }),
      this.#purpose === "create" && this.#form.field(DISPLAY_NAME_FIELD),
      this.#form.field({
        ...{ ...PASSWORD_FIELD, hint: isSignIn ? "" : PASSWORD_RULE },
        attributes: {
          ...PASSWORD_FIELD.attributes,
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
        h("p", { class: "lead" }, (isSignIn && this.notice) || lead),
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
    return h("label", { class: "choice", key: "shown" }, h("input", props), "Show the password");
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
      if (fault instanceof Problem && fault.status === 401)
        throw new Invalid({ password: "User name or password is wrong." });
      if (fault instanceof Problem && fault.code === "name_taken")
        throw new Invalid({ name: "That name is taken. Try another." });
      throw fault;
    }
    if (this.#link.kind) history.replaceState(null, "", location.pathname);
    this.done();
  }

  /** @param {string} name @param {string} display_name @param {string} password */
  async #request(name, display_name, password) {
    const { kind, token } = this.#link;
    if (this.#purpose === "create") {
      const invite = kind === "invite" ? token : "";
      await this.api.register({ name, password, ...(display_name && { display_name }), ...(invite && { invite }) });
    }
    const reset = this.#purpose === "reset" ? await this.api.resetPassword(token, password) : null;
    await this.api.signIn(reset?.name ?? name, password);
  }

  /** @param {string} name @param {string} password @returns {Values} */
  #problems(name, password) {
    if (this.#purpose === "create") return { name: nameProblem(name), password: newPasswordProblem(password) };
    if (this.#purpose === "reset") return { password: newPasswordProblem(password) };
    return { name: name ? "" : "Type your user name.", password: password ? "" : "Type your password." };
  }
}

/** @param {string} name */
const nameProblem = (name) => (NAME.test(name) ? "" : NAME_RULE);

/** @param {string} password */
const newPasswordProblem = (password) => (password.length >= SHORTEST_PASSWORD ? "" : PASSWORD_RULE);
