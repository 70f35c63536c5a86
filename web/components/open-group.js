// Groups that the user may join: the one of an invite link, and the public ones.

import { explain, Problem } from "../api.js";
import { withoutDirectionControls } from "../format.js";
import { isTouchScreen } from "../focus.js";
import { GroupChanges } from "../group-changes.js";
import { afterStep, asKnown, Joining, stepOf } from "../joining.js";
import { dialogTexts } from "../languages/dialogs.js";
import { texts } from "../languages/language.js";
import { Loaded } from "../stores/loaded.js";
import { h } from "../view.js";
import { groupAvatar, LARGE } from "./avatar.js";
import { textButton } from "./buttons.js";
import { emptyState, failure, skeletonRows } from "./empty.js";
import { Invalid } from "./form.js";
import { peopleFault } from "./group-fields.js";
import { actionRow, loadedView, rowButton } from "./loaded.js";
import { Modal } from "./modal.js";
import { Outcome } from "./outcome.js";
import { searchBox } from "./search-box.js";

/** @import {App} from "./app-shell.js" */
/** @import {ControlFields} from "../api.js" */
/** @import {OpenGroup} from "../joining.js" */
/** @import {Children} from "../view.js" */
/** @import {Event as WireEvent} from "../wire.js" */

/** The pause in typing after which the search begins. */
const PAUSE_MS = 200;

/** A dialog from which the user joins groups. */
class JoiningModal extends Modal {
  /** @protected */
  app;
  /** @protected */
  joining;
  /** @protected */
  outcome = new Outcome();
  #changes;

  /**
   * @param {App} app
   * @param {string} title
   * @param {string} gone what to show when the user may not join the group any more
   * @param {() => Children} content
   */
  constructor(app, title, gone, content) {
    super(title, content);
    this.app = app;
    this.gone = gone;
    this.joining = new Joining(app.api);
    this.#changes = new GroupChanges(app.api, app.chats);
    this.follow(app.chats, this.outcome);
  }

  /**
   * Does what the user can do next with a group; a group of which the user becomes a member is opened.
   * @protected
   * @param {OpenGroup} group
   * @param {(fields: ControlFields) => Promise<WireEvent>} join
   * @param {(group: OpenGroup) => void} done called with the group as it is then
   */
  step(group, join, done) {
    const { chats } = this.app;
    const step = stepOf(group);
    if (step === "open") return this.app.open(group.chat_id);
    const takeBack = (/** @type {ControlFields} */ fields) => this.joining.decline(group.chat_id, chats.me.user_id, fields);
    void this.outcome.of(async () => {
      const after = await this.#changes.send([group.chat_id, step], step === "takeBack" ? takeBack : join).then(
        (event) => afterStep(group, event, chats.me.user_id),
        (fault) => this.#afterFault(fault, group),
      );
      done(after);
      if (after.is_member && this.element.open) this.app.open(group.chat_id);
      return "";
    });
  }

  /** The group, as far as the page knows it better. @protected @param {OpenGroup} group */
  known(group) {
    return asKnown(group, this.app.chats.of(group.chat_id));
  }

  /** The group after a refused step. @param {unknown} fault @param {OpenGroup} group @throws the fault to show */
  #afterFault(fault, group) {
    const { chats } = this.app;
    const { has_asked, is_channel = false, members } = group;
    if (isNotFound(fault) && has_asked) return { ...group, has_asked: false }; // a member has declined the request
    if (isNotFound(fault)) throw new Invalid({}, this.gone);
    const known = { settings: { name: group.name, is_channel }, member_count: members };
    throw peopleFault(fault, [chats.me.user_id], chats, known);
  }
}

/** The group of an invite link. */
export class InvitedGroup extends JoiningModal {
  #token;
  /** With null if the link can't be used. @type {Loaded<{group: OpenGroup | null}>} */
  #invited;

  /** @param {App} app @param {string} token */
  constructor(app, token) {
    super(app, dialogTexts.joining.title, dialogTexts.joining.ended, () => this.#content());
    this.#token = token;
    this.#invited = new Loaded(() => this.#look());
    this.follow(this.#invited);
    void this.#invited.load();
  }

  async #look() {
    try {
      return { group: await this.joining.look(this.#token) };
    } catch (fault) {
      if (isNotFound(fault)) return { group: null };
      throw fault;
    }
  }

  #content() {
    const { endedTitle, ended } = dialogTexts.joining;
    const view = loadedView(this.#invited, ({ group }) => (group ? this.#view(group) : emptyState(endedTitle, ended)));
    return h("div", { role: "status", key: "group" }, view);
  }

  /** @param {OpenGroup} found */
  #view(found) {
    const group = this.known(found);
    const { chat_id, topic, avatar } = group;
    const { asked, approval } = dialogTexts.joining;
    const step = stepOf(group);
    const name = withoutDirectionControls(group.name);
    const join = (/** @type {ControlFields} */ fields) => this.joining.join(this.#token, fields);
    const press = () => this.step(group, join, (after) => this.#invited.put({ group: after }));
    const note = step === "takeBack" ? asked : step === "ask" ? approval : "";
    return [
      h(
        "div",
        { class: "person" },
        groupAvatar(chat_id, name, avatar, LARGE),
        h("strong", { dir: "auto" }, name),
        h("span", { class: "soft" }, membersText(group)),
        topic && h("p", { class: "about", dir: "auto" }, topic),
        h("p", { class: "note" }, note),
      ),
      this.outcome.view(),
      textButton("primary", press, dialogTexts.joining.steps[step]),
    ];
  }
}

/** The public groups, with a search. */
export class PublicGroups extends JoiningModal {
  #query = "";
  /** The groups that were found so far; null until the first answer. @type {readonly OpenGroup[] | null} */
  #found = null;
  /** Where the next page begins; empty if there is none. */
  #after = "";
  #problem = "";
  /** Rises with each search, so that a late response to an older one is ignored. */
  #search = 0;
  /** @type {HTMLInputElement | undefined} */
  #input;

  /** @param {App} app */
  constructor(app) {
    super(app, dialogTexts.publicGroups.title, dialogTexts.publicGroups.gone, () => this.#content());
    this.element.classList.add("choosing");
    void this.#load();
  }

  #content() {
    const search = {
      autofocus: !isTouchScreen(),
      maxlength: 64,
      ref: (/** @type {HTMLInputElement} */ element) => void (this.#input = element),
      oninput: () => this.#find(this.#input?.value.trim() ?? ""),
    };
    return [
      searchBox(dialogTexts.publicGroups.search, search),
      this.outcome.view(),
      h("div", { class: "targets", "aria-live": "polite", key: "found" }, this.#list()),
    ];
  }

  #list() {
    const { none, noneHint, empty, emptyHint } = dialogTexts.publicGroups;
    if (this.#problem) return failure(this.#problem, () => void this.#load(this.#after));
    if (!this.#found) return skeletonRows(3);
    if (!this.#found.length) return this.#query ? emptyState(none, noneHint(this.#query)) : emptyState(empty, emptyHint);
    return [
      h("ul", { class: "list", key: "rows" }, this.#found.map((group) => this.#row(group))),
      this.#after && textButton("text-button wide", () => void this.#load(this.#after), texts.message.showMore),
    ];
  }

  /** @param {OpenGroup} found */
  #row(found) {
    const group = this.known(found);
    const { chat_id, topic = "", avatar } = group;
    const { steps, stepsOf, asked } = dialogTexts.joining;
    const step = stepOf(group);
    const name = withoutDirectionControls(group.name);
    const words = step === "takeBack" ? asked : withoutDirectionControls(topic);
    const about = words && h("span", { class: "topic", dir: "auto" }, words);
    const detail = [membersText(group), about];
    const join = (/** @type {ControlFields} */ fields) => this.joining.joinPublic(chat_id, fields);
    const put = (/** @type {OpenGroup} */ after) => {
      this.#found = (this.#found ?? []).map((each) => (each.chat_id === chat_id ? after : each));
      this.root.invalidate();
    };
    return actionRow(
      chat_id,
      groupAvatar(chat_id, name, avatar),
      name,
      detail,
      rowButton(steps[step], stepsOf[step](name), () => this.step(group, join, put)),
    );
  }

  /** @param {string} query */
  #find(query) {
    if (query === this.#query) return;
    this.#query = query;
    this.#found = null;
    this.#after = this.#problem = "";
    const search = ++this.#search;
    setTimeout(() => search === this.#search && this.element.open && void this.#load(), PAUSE_MS);
    this.root.invalidate();
  }

  /** Loads a page. @param {string} [after] of the page before */
  async #load(after = "") {
    const search = ++this.#search;
    this.#problem = "";
    this.root.invalidate();
    try {
      const page = await this.joining.publicGroups(this.#query, after);
      if (search !== this.#search) return;
      this.#found = [...(after ? (this.#found ?? []) : []), ...page.chats];
      this.#after = (page.has_more && page.after) || "";
    } catch (fault) {
      if (search !== this.#search) return;
      this.#problem = explain(fault);
    }
    this.root.invalidate();
  }
}

/** How many members a group has. @param {OpenGroup} group */
const membersText = ({ is_channel, members }) => (is_channel ? dialogTexts.channel : dialogTexts.group).members(members);

/** @param {unknown} fault */
const isNotFound = (fault) => fault instanceof Problem && fault.code === "not_found";
