// What the page shows of connections and blocks outside of dialogs: a notice of an invitation to connect, and notes in
// direct chats. Loaded when it is first needed.

import { dialogTexts } from "../languages/dialogs.js";
import { peopleOf } from "../stores/people.js";
import { h } from "../view.js";
import { textButton } from "./buttons.js";
import { openProfile } from "./open-dialog.js";
import { Outcome } from "./outcome.js";

/** @import {App} from "./app-shell.js" */
/** @import {People} from "../stores/people.js" */
/** @import {Child} from "../view.js" */

/** Shows a notice if a user has invited the user of this page to connect. @param {App} app @param {string} user_id */
export async function showInvitation(app, user_id) {
  const people = peopleOf(app);
  const { profiles } = app.chats;
  await people.read();
  if (people.connectionWith(user_id)?.state !== "invites_me") return;
  profiles.get(user_id);
  await profiles.fetchQueued();
  const { states, show } = dialogTexts.people;
  const press = () => openProfile(app, user_id);
  app.notify(states.invites_me(profiles.nameOf(user_id)), { label: show, press, isFocused: false });
}

/** The notes in a direct chat: of a block in place of the composer, of an invitation to connect above it. */
export class PeopleNotes {
  #app;
  #user_id;
  #people;
  #outcome = new Outcome();
  #ends;

  /** @param {App} app @param {string} user_id of the other member */
  constructor(app, user_id) {
    this.#app = app;
    this.#user_id = user_id;
    this.#people = peopleOf(app);
    this.#ends = [this.#people, this.#outcome].map((store) => store.subscribe(app.root.invalidate));
  }

  stop() {
    for (const end of this.#ends) end();
  }

  /** Whether the user has blocked the other member, as far as that is loaded. */
  get isBlocked() {
    return this.#people.isBlocked(this.#user_id);
  }

  /** Null unless the user has blocked the other member. */
  blocked() {
    if (!this.isBlocked) return null;
    const { isBlocked, unblock, unblocked } = dialogTexts.people;
    return this.#note(isBlocked(this.#name), this.#button(unblock, (people) => people.unblock(this.#user_id), unblocked(this.#name)));
  }

  /** Null unless the other member has invited the user to connect. */
  invitation() {
    if (this.#people.connectionWith(this.#user_id)?.state !== "invites_me") return null;
    const { states, accept, accepted, decline, declined } = dialogTexts.people;
    return this.#note(
      states.invites_me(this.#name),
      this.#button(accept, (people) => people.connect(this.#user_id), accepted(this.#name)),
      this.#button(decline, (people) => people.disconnect(this.#user_id), declined(this.#name)),
    );
  }

  get #name() {
    return this.#app.chats.profiles.nameOf(this.#user_id);
  }

  /** @param {string} words @param {...Child} buttons */
  #note(words, ...buttons) {
    return h("div", { class: "note closed", key: "people" }, h("p", {}, words), this.#outcome.view(), ...buttons);
  }

  /** @param {string} words @param {(people: People) => Promise<void>} act @param {string} done what to show then */
  #button(words, act, done) {
    const run = async () => {
      await act(this.#people);
      this.#app.notify(done);
      return "";
    };
    return textButton("text-button", () => void this.#outcome.of(run), words);
  }
}
