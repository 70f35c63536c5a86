// The step before a first sign-in: it creates the account, or sets its password. Its answer may be lost, or the sign-in
// after it may fail: then the same values, sent again, sign in to the account, whose step can't be repeated.

import { Problem } from "./api.js";

/** The link is used, perhaps by an earlier try: the step may be done, for an account whose name is not known. */
export class Uncertain extends Error {}

export class FirstStep {
  #signIn;
  #values = "";
  /** The account's name, once the step is done. */
  #name = "";
  /** Whether an answer to the step was lost. */
  #isLost = false;

  /** @param {(name: string, password: string) => Promise<void>} signIn */
  constructor(signIn) {
    this.#signIn = signIn;
  }

  /**
   * Takes the step, unless it is done with these values, and signs in.
   * @param {() => Promise<{name: string}>} take returns the account
   * @param {string} password
   * @param {string} [name] of the account, if the step does not have to find it
   * @throws {Uncertain}
   * @throws {Problem} the refusal of the step, unless the sign-in shows that it was done before
   */
  async run(take, password, name = "") {
    const values = JSON.stringify([name, password]);
    if (values !== this.#values) [this.#values, this.#name, this.#isLost] = [values, "", false];
    /** @type {unknown} */
    let refusal;
    try {
      this.#name ||= (await take()).name;
    } catch (fault) {
      const isRefused = fault instanceof Problem && fault.status < 500 && fault.status !== 408; // a late request
      this.#isLost ||= !isRefused;
      if (!isRefused || !this.#isLost) throw fault;
      if (!name) throw fault.code === "not_found" ? new Uncertain() : fault;
      refusal = fault;
    }
    await this.#signIn(this.#name || name, password).catch((fault) => {
      throw refusal && fault instanceof Problem && fault.status === 401 ? refusal : fault;
    });
  }
}
