// The user's connections, the invitations to connect, and the people whom the user has blocked.

import { directChatId } from "../chats.js";
import { userName } from "../format.js";
import { dialogTexts } from "../languages/dialogs.js";
import { peopleOf } from "../stores/people.js";
import { h } from "../view.js";
import { avatar } from "./avatar.js";
import { emptyState } from "./empty.js";
import { nameOf } from "./group-members.js";
import { Growing } from "./incremental-list.js";
import { actionRow, loadedView, rowButton } from "./loaded.js";
import { Modal } from "./modal.js";
import { Outcome } from "./outcome.js";

/** @import {App} from "./app-shell.js" */
/** @import {Connected, People, Relations} from "../stores/people.js" */

/** The groups of rows, in their order. @typedef {Connected | "blocked"} Group */
/** @type {readonly Group[]} */
const GROUPS = ["invites_me", "connected", "invited", "blocked"];

/**
 * The people in the order of the list: in each group the newest first.
 * @param {Relations} relations
 * @returns {{group: Group, user_id: string}[]}
 */
export function listedPeople({ connections, blocked }) {
  const newest = [...connections].sort((one, other) => Number(other.since_ms) - Number(one.since_ms));
  const all = [
    ...newest.map(({ state, user_id }) => ({ group: state, user_id })),
    ...blocked.map((user_id) => ({ group: /** @type {const} */ ("blocked"), user_id })),
  ];
  return GROUPS.flatMap((group) => all.filter((one) => one.group === group));
}

export class PeopleDialog extends Modal {
  #app;
  #people;
  #growing;
  #outcome = new Outcome();

  /** @param {App} app */
  constructor(app) {
    super(dialogTexts.people.title, () => this.#content());
    this.#app = app;
    this.#people = peopleOf(app);
    this.#growing = new Growing(this);
    this.follow(app.chats, this.#people, this.#outcome);
  }

  #content() {
    const list = loadedView(this.#people.relations, (relations) => this.#list(relations));
    return h("div", { class: "listed", tabindex: -1, key: "people" }, this.#outcome.view(), list); // has the focus after a row has gone
  }

  /** @param {Relations} relations */
  #list(relations) {
    const { none, noneHint, groups } = dialogTexts.people;
    const shown = this.#growing.part(listedPeople(relations));
    if (!shown.length) return emptyState(none, noneHint);
    return GROUPS.map((group) => {
      const rows = shown.filter((one) => one.group === group);
      if (!rows.length) return null;
      return h(
        "section",
        { key: group },
        h("h3", { class: "section" }, groups[group]),
        h("ul", { class: "list" }, rows.map(({ user_id }) => this.#row(group, user_id))),
      );
    });
  }

  /** @param {Group} group @param {string} user_id */
  #row(group, user_id) {
    const { chats } = this.#app;
    const profile = chats.profiles.get(user_id);
    const { people } = dialogTexts;
    const name = nameOf(profile);
    const open = () => this.#app.open(directChatId(chats.me.user_id, user_id));
    const connect = (/** @type {People} */ all) => all.connect(user_id);
    const disconnect = (/** @type {People} */ all) => all.disconnect(user_id);
    const button = (/** @type {string} */ words, /** @type {(all: People) => Promise<void>} */ act, /** @type {string} */ done) =>
      rowButton(words, people.actionOn(words, name), () => this.#do(act, done));
    const buttons = {
      invites_me: [button(people.accept, connect, people.accepted(name)), button(people.decline, disconnect, people.declined(name))],
      connected: [
        rowButton(people.openChat, people.actionOn(people.openChat, name), open),
        button(people.remove, disconnect, people.removed(name)),
      ],
      invited: [button(people.takeBack, disconnect, people.tookBack)],
      blocked: [button(people.unblock, (all) => all.unblock(user_id), people.unblocked(name))],
    }[group];
    return actionRow(user_id, avatar(profile), name, h("bdi", {}, profile && userName(profile)), ...buttons);
  }

  /** @param {(people: People) => Promise<void>} act @param {string} done */
  #do(act, done) {
    void this.#outcome.of(async () => {
      await act(this.#people);
      return done;
    });
  }
}
