// What the page shows of connections and blocks outside of dialogs: a notice of an invitation to connect, and the note in
// the chat with a blocked person. Loaded when it is first needed.

import { dialogTexts } from "../languages/dialogs.js";
import { peopleOf } from "../stores/people.js";
import { h } from "../view.js";
import { textButton } from "./buttons.js";
import { openProfile } from "./open-dialog.js";
import { Outcome } from "./outcome.js";

/** @import {App} from "./app-shell.js" */

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
  app.say(states.invites_me(profiles.nameOf(user_id)), { label: show, press, isFocused: false });
}

/** The note in place of the composer, while the other member of a direct chat is blocked. */
export class BlockedNote {
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

  /** Null unless the user is blocked. */
  view() {
    if (!this.#people.isBlocked(this.#user_id)) return null;
    const { isBlocked, unblock, unblocked } = dialogTexts.people;
    const name = this.#app.chats.profiles.nameOf(this.#user_id);
    const act = async () => {
      await this.#people.unblock(this.#user_id);
      this.#app.say(unblocked(name));
      return "";
    };
    return h(
      "div",
      { class: "note closed", key: "blocked" },
      h("p", {}, isBlocked(name)),
      this.#outcome.view(),
      textButton("text-button", () => void this.#outcome.of(act), unblock),
    );
  }
}
