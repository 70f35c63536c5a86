// The form to sign in, to create an account, or to set a new password with the link of an admin.

import { Api, explain, Problem } from "../api.js";
import { Component, h, setText } from "../dom.js";
import { mark } from "../icons.js";
import { linkIn } from "../links.js";
import { textButton } from "./buttons.js";
import { field, showProblems } from "./field.js";

const SHORTEST_PASSWORD = 10;
const NAME = /^[a-z0-9._-]{3,32}$/;

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

export class SignIn extends Component {
  #link = linkIn(location.hash);
  /** @type {Purpose} */
  #purpose = "signIn";
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
  #other = textButton("quiet", () => this.#show(this.#purpose === "signIn" ? "create" : "signIn"));

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
    this.#show(this.#link.kind === "invite" ? "create" : this.#link.kind || "signIn");
  }

  /** @param {Purpose} purpose */
  #show(purpose) {
    this.#purpose = purpose;
    const { title, lead, submit, other } = WORDS[purpose];
    setText(this.#title, title);
    setText(this.#lead, (purpose === "signIn" && this.notice) || lead);
    setText(this.#submit, submit);
    setText(this.#other, other);
    this.#name.element.hidden = purpose === "reset";
    this.#displayName.element.hidden = purpose !== "create";
    this.#password.input.setAttribute("autocomplete", purpose === "signIn" ? "current-password" : "new-password");
    this.#showProblems({});
    (purpose === "reset" ? this.#password : this.#name).input.focus();
  }

  async #send() {
    const name = this.#name.input.value.trim().toLowerCase();
    const password = this.#password.input.value;
    const display_name = this.#displayName.input.value.trim();
    if (this.#showProblems(this.#problems(name, password))) return;
    this.#submit.disabled = true;
    try {
      const { kind, token } = this.#link;
      if (this.#purpose === "create") {
        const invite = kind === "invite" ? token : "";
        await this.api.register({ name, password, ...(display_name && { display_name }), ...(invite && { invite }) });
      }
      const reset = this.#purpose === "reset" ? await this.api.resetPassword(token, password) : null;
      await this.api.signIn(reset?.name ?? name, password);
      if (kind) history.replaceState(null, "", location.pathname);
      this.done();
    } catch (fault) {
      this.#refused(fault);
    } finally {
      this.#submit.disabled = false;
    }
  }

  /** @param {string} name @param {string} password @returns {Record<string, string>} */
  #problems(name, password) {
    if (this.#purpose === "create") return { name: nameProblem(name), password: newPasswordProblem(password) };
    if (this.#purpose === "reset") return { password: newPasswordProblem(password) };
    return { name: name ? "" : "Type your user name.", password: password ? "" : "Type your password." };
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

/** @param {string} name */
const nameProblem = (name) =>
  NAME.test(name) ? "" : "3 to 32 of the letters a to z, digits, dots, dashes and underscores.";

/** @param {string} password */
const newPasswordProblem = (password) =>
  password.length >= SHORTEST_PASSWORD
    ? ""
    : `At least ${SHORTEST_PASSWORD} characters: a short sentence works well.`;

customElements.define("rookery-sign-in", SignIn);
