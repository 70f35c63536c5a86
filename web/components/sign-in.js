// The form to sign in or to create an account.

import { Api, explain, Problem } from "../api.js";
import { Component, h, setText } from "../dom.js";
import { mark } from "../icons.js";
import { textButton } from "./buttons.js";
import { field, showProblems } from "./field.js";

const SHORTEST_PASSWORD = 10;
const NAME = /^[a-z0-9._-]{3,32}$/;

export class SignIn extends Component {
  #creating = false;
  #name = field({
    label: "User name",
    name: "name",
    attributes: {
      autocomplete: "username",
      autocapitalize: "none",
      spellcheck: "false",
      maxlength: 32,
      required: true,
    },
  });
  #displayName = field({
    label: "Your name",
    name: "display_name",
    hint: "As others see it. You can change it later.",
    attributes: { autocomplete: "name", maxlength: 64 },
  });
  #password = field({
    label: "Password",
    name: "password",
    attributes: { type: "password", autocomplete: "current-password", maxlength: 128, required: true },
  });
  #title = h("h1");
  #lead = h("p", { class: "lead" });
  #error = h("p", { class: "note error", role: "alert" });
  #submit = h("button", { class: "primary", type: "submit" });
  #other = textButton("quiet", () => this.#show(!this.#creating));

  /** @param {Api} api @param {string} notice @param {() => void} done */
  constructor(api, notice, done) {
    super();
    this.api = api;
    this.notice = notice;
    this.done = done;
  }

  /** @override */
  connected() {
    this.className = "sign-in";
    const submit = (/** @type {Event} */ event) => {
      event.preventDefault();
      void this.#send();
    };
    const fields = [this.#name.element, this.#displayName.element, this.#password.element];
    const form = h(
      "form",
      { class: "card", novalidate: true, onsubmit: submit },
      mark(),
      this.#title,
      this.#lead,
      ...fields,
    );
    form.append(this.#error, this.#submit, this.#other);
    this.replaceChildren(h("main", {}, form));
    this.#show(false);
  }

  /** @param {boolean} creating */
  #show(creating) {
    this.#creating = creating;
    setText(this.#title, creating ? "Create an account" : "Welcome to Rookery");
    setText(
      this.#lead,
      creating ? "Pick the name that others find you by." : this.notice || "Sign in to your team’s chat.",
    );
    setText(this.#submit, creating ? "Create account" : "Sign in");
    setText(this.#other, creating ? "I have an account" : "Create an account");
    this.#displayName.element.hidden = !creating;
    this.#password.input.setAttribute("autocomplete", creating ? "new-password" : "current-password");
    this.#showProblems({});
    this.#name.input.focus();
  }

  async #send() {
    const name = this.#name.input.value.trim().toLowerCase();
    const password = this.#password.input.value;
    const display_name = this.#displayName.input.value.trim();
    if (this.#showProblems(this.#creating ? newAccountProblems(name, password) : missing(name, password))) return;
    this.#submit.disabled = true;
    try {
      if (this.#creating) await this.api.register({ name, password, ...(display_name && { display_name }) });
      await this.api.signIn(name, password);
      this.done();
    } catch (fault) {
      this.#refused(fault);
    } finally {
      this.#submit.disabled = false;
    }
  }

  /** @param {unknown} fault */
  #refused(fault) {
    if (fault instanceof Problem && fault.status === 401)
      this.#showProblems({ password: "User name or password is wrong." });
    else if (fault instanceof Problem && fault.code === "name_taken")
      this.#showProblems({ name: "That name is taken. Try another." });
    else if (!(fault instanceof Problem && this.#showProblems({ [fault.field]: explain(fault) })))
      setText(this.#error, explain(fault));
  }

  /** @param {Record<string, string>} problems by field */
  #showProblems(problems) {
    setText(this.#error, "");
    return showProblems([this.#name, this.#displayName, this.#password], problems);
  }
}

/** @param {string} name @param {string} password */
function missing(name, password) {
  return { name: name ? "" : "Type your user name.", password: password ? "" : "Type your password." };
}

/** @param {string} name @param {string} password */
function newAccountProblems(name, password) {
  return {
    name: NAME.test(name) ? "" : "3 to 32 of the letters a to z, digits, dots, dashes and underscores.",
    password:
      password.length >= SHORTEST_PASSWORD
        ? ""
        : `At least ${SHORTEST_PASSWORD} characters: a short sentence works well.`,
  };
}

customElements.define("rookery-sign-in", SignIn);
