// Dialogs about users: another user's profile, and the user's own.

import { Problem } from "../api.js";
import { directChatId } from "../chats.js";
import { displayName, userName } from "../format.js";
import { dialogTexts } from "../languages/dialogs.js";
import { People, peopleOf } from "../stores/people.js";
import { h } from "../view.js";
import { avatar, LARGE } from "./avatar.js";
import { textButton } from "./buttons.js";
import { Confirmation } from "./confirmation.js";
import { failure } from "./empty.js";
import { FormModal, Modal } from "./modal.js";
import { Outcome } from "./outcome.js";
import { PictureEditor } from "./picture-editor.js";
import { ReportDialog } from "./report-dialog.js";

export { PeopleDialog } from "./people-dialog.js";
export { ReportDialog } from "./report-dialog.js";

/** @import {App} from "./app-shell.js" */
/** @import {Values} from "./form.js" */
/** @import {Profile} from "../types.js" */

/** A user's profile, and what the user of this page may do with another one. */
export class ProfileDialog extends Modal {
  #app;
  #user_id;
  #people;
  #outcome = new Outcome();

  /** @param {App} app @param {string} user_id of a user whose profile is loaded */
  constructor(app, user_id) {
    super(dialogTexts.profile.title, () => this.#content());
    this.#app = app;
    this.#user_id = user_id;
    this.#people = peopleOf(app);
    this.follow(app.chats, this.#people, this.#outcome);
  }

  #content() {
    const profile = /** @type {Profile} */ (this.#app.chats.profiles.get(this.#user_id));
    const isOther = profile.user_id !== this.#app.chats.me.user_id && !profile.deleted;
    return [
      person(profile),
      profile.about && h("p", { class: "about", dir: "auto", key: "about" }, profile.about),
      h("div", { class: "listed", tabindex: -1, key: "actions" }, isOther && this.#actions(profile)), // has the focus after a choice
    ];
  }

  /** @param {Profile} profile */
  #actions(profile) {
    const { openChat, block, unblock, report } = dialogTexts.people;
    const { user_id } = profile;
    const chat_id = directChatId(this.#app.chats.me.user_id, user_id);
    const open = () => this.#app.open(chat_id);
    const isBlocked = this.#people.isBlocked(user_id);
    const name = displayName(profile);
    return [
      this.#outcome.view(),
      this.#people.relations.problem && failure(this.#people.relations.problem, () => void this.#people.relations.load()),
      this.#connection(name, isBlocked),
      h(
        "div",
        { class: "group-buttons", key: "buttons" },
        chat_id !== this.#app.chats.openChat && textButton("text-button", open, openChat),
        isBlocked
          ? textButton("text-button", () => this.#do((people) => people.unblock(user_id), dialogTexts.people.unblocked(name)), unblock)
          : textButton("text-button danger", () => this.#block(name), block),
        textButton("text-button danger", () => new ReportDialog(this.#app, profile).open(), report),
      ),
    ];
  }

  /** The connection with the user, and what can be done about it. @param {string} name @param {boolean} isBlocked */
  #connection(name, isBlocked) {
    const { people } = dialogTexts;
    const user_id = this.#user_id;
    if (!this.#people.relations.value) return null;
    if (isBlocked) return h("div", { class: "connection", key: "connection" }, h("p", { class: "note" }, people.isBlocked(name)));
    const connect = (/** @type {string} */ words, /** @type {string} */ done) =>
      textButton("primary", () => this.#do((each) => each.connect(user_id), done), words);
    const disconnect = (/** @type {string} */ words, /** @type {string} */ done) =>
      textButton("text-button", () => this.#do((each) => each.disconnect(user_id), done), words);
    const state = this.#people.connectionWith(user_id)?.state;
    const note = state && h("p", { class: "note" }, people.states[state](name));
    return h(
      "div",
      { class: "connection", key: "connection" },
      note,
      !state && connect(people.connect, people.invited(name)),
      state === "invites_me" && [
        connect(people.accept, people.accepted(name)),
        disconnect(people.decline, people.declined(name)),
      ],
      state === "invited" && disconnect(people.takeBack, people.tookBack),
      state === "connected" && disconnect(people.remove, people.removed(name)),
    );
  }

  /** @param {string} name */
  #block(name) {
    const { blockTitle, blockWords, block, blocked } = dialogTexts.people;
    new Confirmation({ title: blockTitle, words: blockWords(name), action: block }, async () => {
      await this.#people.block(this.#user_id);
      this.#outcome.show(blocked(name));
    }).open();
  }

  /** @param {(people: People) => Promise<void>} act @param {string} done */
  #do(act, done) {
    void this.#outcome.of(async () => {
      await act(this.#people);
      return done;
    });
  }
}

/** The user's own profile, to edit. */
export class OwnProfile extends FormModal {
  /** @param {App} app */
  constructor({ api, chats }) {
    const { me } = chats;
    const name = {
      label: dialogTexts.profile.name,
      name: "display_name",
      value: me.display_name,
      attributes: { maxlength: 64, autocomplete: "name", dir: "auto" },
    };
    const about = {
      label: dialogTexts.profile.about,
      name: "about",
      hint: dialogTexts.profile.aboutHint,
      long: true,
      value: me.about ?? "",
      attributes: { maxlength: 200, rows: 3, dir: "auto" },
    };
    const plain = (/** @type {string} */ text) => text.replaceAll("\r\n", "\n").trim();
    const given = { display_name: plain(me.display_name), about: plain(me.about ?? "") };
    const save = async (/** @type {Values} */ { display_name = "", about = "" }) => {
      const entered = { display_name: plain(display_name), about: plain(about) };
      // Another device may have changed the rest.
      const changes = Object.entries(entered).filter(([field, text]) => text !== given[/** @type {keyof given} */ (field)]);
      try {
        if (changes.length) await chats.changeProfile(Object.fromEntries(changes));
      } catch (fault) {
        if (fault instanceof Problem && fault.code === "version_conflict") await chats.refreshMe();
        throw fault;
      }
    };
    super(dialogTexts.profile.own, dialogTexts.profile.save, [name, about], save, () => [
      person(chats.me),
      picture.view(chats.me.avatar),
    ]);
    const picture = new PictureEditor(api, this.root, "", (avatar) => chats.changeProfile({ avatar }));
    this.follow(chats);
  }
}

/** @param {Profile} profile */
function person(profile) {
  return h(
    "div",
    { class: "person", key: "person" },
    avatar(profile, false, LARGE),
    h("strong", { dir: "auto" }, displayName(profile)),
    h("bdi", { class: "soft" }, userName(profile)),
  );
}
