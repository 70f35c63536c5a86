// A group: its name and topic, its members, and what the user may do in it.

import { explain } from "../api.js";
import { directChatId } from "../chats.js";
import { unreadLabel } from "../format.js";
import { actionsOn } from "../group-actions.js";
import { GroupChanges } from "../group-changes.js";
import { isMember, may, roomIn } from "../groups.js";
import { Joining } from "../joining.js";
import { dialogTexts } from "../languages/dialogs.js";
import { h } from "../view.js";
import { AddPeople } from "./add-people.js";
import { groupAvatar, LARGE } from "./avatar.js";
import { textButton } from "./buttons.js";
import { Confirmation } from "./confirmation.js";
import { skeletonRows } from "./empty.js";
import { fullText } from "./group-fields.js";
import { GroupMembers, nameOf } from "./group-members.js";
import { GroupSettings } from "./group-settings.js";
import { InviteLinks } from "./invite-links.js";
import { JoinRequests } from "./join-requests.js";
import { groupList } from "./loaded.js";
import { MemberRights } from "./member-rights.js";
import { FormModal, Modal } from "./modal.js";
import { openProfile } from "./open-dialog.js";
import { PictureEditor } from "./picture-editor.js";

/** @import {ControlFields} from "../api.js" */
/** @import {App} from "./app-shell.js" */
/** @import {Choice} from "./menu.js" */
/** @import {JoinRequest, Versioned} from "../joining.js" */
/** @import {Group} from "../types.js" */
/** @import {Member, Role} from "../wire.js" */

/** @typedef {Versioned & {requests: JoinRequest[]}} Requests */

export class GroupPanel extends Modal {
  #app;
  #chat_id;
  #changes;
  #members;
  #picture;
  /** The requests to join; null until the user may accept them. @type {ReturnType<typeof groupList<Requests>> | null} */
  #requests = null;
  /** The outcome of the user's last action, and whether it failed. */
  #outcome = { text: "", isFailure: false };

  /** @param {App} app @param {string} chat_id of a group */
  constructor(app, chat_id) {
    super(dialogTexts.groupPanel.title, () => this.#content());
    this.#app = app;
    this.#chat_id = chat_id;
    this.#changes = new GroupChanges(app.api, app.chats, chat_id);
    this.#members = new GroupMembers(app, this, chat_id, (member) => this.#choicesOf(member));
    this.#picture = new PictureEditor(app.api, this.root, chat_id, (avatar) => this.#setPicture(avatar));
    this.element.classList.add("group-panel");
    this.follow(app.chats);
    if (!app.chats.isChannel(chat_id)) void app.chats.rosters.load(chat_id);
  }

  get #group() {
    return this.#app.chats.of(this.#chat_id).group;
  }

  #content() {
    const group = this.#group;
    if (!group) return skeletonRows(4);
    const { members, former } = dialogTexts.groupPanel;
    if (!isMember(group.own)) return [this.#head(group), h("p", { class: "note", role: "status" }, former)];
    return h(
      "div",
      { class: "group", key: "group" },
      this.#head(group),
      this.#buttons(group),
      h("p", { class: "note", role: "status", key: "done" }, !this.#outcome.isFailure && this.#outcome.text),
      h("p", { class: "note error", role: "alert", key: "failed" }, this.#outcome.isFailure && this.#outcome.text),
      h("section", { key: "members" }, h("h3", {}, members), this.#members.view()),
      textButton("text-button danger", () => this.#leave(group), dialogTexts.groupPanel.leave),
    );
  }

  /** @param {Group} group */
  #head({ settings: { topic, is_channel, avatar }, member_count, own }) {
    const { members } = is_channel ? dialogTexts.channel : dialogTexts.group;
    const name = this.#app.chats.titleOf(this.#chat_id);
    return h(
      "div",
      { class: "person", key: "head" },
      groupAvatar(this.#chat_id, name, avatar, LARGE),
      h("strong", { dir: "auto" }, name),
      isMember(own) && h("span", { class: "soft" }, members(member_count)),
      topic && h("p", { class: "about", dir: "auto" }, topic),
      may(this.#app.chats.of(this.#chat_id), "EDIT_SETTINGS") && this.#picture.view(avatar),
    );
  }

  /** @param {Group} group */
  #buttons(group) {
    const [app, chat_id] = [this.#app, this.#chat_id];
    const chat = app.chats.of(chat_id);
    const { edit, add, invites } = dialogTexts.groupPanel;
    const isFull = roomIn(group) <= 0;
    const addPeople = () =>
      new AddPeople(app, chat_id, (count) => this.#notify(dialogTexts.groupAdd.added(count))).open();
    return h(
      "div",
      { class: "group-buttons", key: "buttons" },
      (may(chat, "EDIT_SETTINGS") || may(chat, "MANAGE")) &&
        textButton("text-button", () => new GroupSettings(app, chat_id).open(), edit),
      may(chat, "ADD_MEMBERS") && !isFull && textButton("text-button", addPeople, add),
      may(chat, "ADD_MEMBERS") && group.own.role !== "ROLE_GUEST" &&
        textButton("text-button", () => new InviteLinks(app, chat_id).open(), invites),
      may(chat, "ADD_MEMBERS") && this.#requestsButton(),
      may(chat, "ADD_MEMBERS") && isFull && h("p", { class: "note" }, fullText(group.settings.is_channel)),
    );
  }

  /** @param {string} avatar its token */
  #setPicture(avatar) {
    const { api } = this.#app;
    return this.#changes.send(["avatar", avatar], (fields) => api.changeGroup(this.#chat_id, { ...fields, avatar }));
  }

  /** The button that opens the requests to join, with their number; none without requests. */
  #requestsButton() {
    const [app, chat_id] = [this.#app, this.#chat_id];
    this.#requests ??= groupList(app, chat_id, this, () => new Joining(app.api).requests(chat_id));
    const count = this.#requests.value?.requests.length ?? 0;
    if (!count) return null;
    const open = () => new JoinRequests(app, chat_id).open();
    const badge = h("span", { class: "badge" }, unreadLabel(count));
    return textButton("text-button counted", open, dialogTexts.groupPanel.requests, " ", badge);
  }

  // ---- one member

  /** @param {Member} member @returns {readonly Choice[]} */
  #choicesOf(member) {
    const group = this.#group;
    if (!group) return [];
    const { user_id } = member;
    if (user_id === group.own.user_id) return [{ label: dialogTexts.groupPanel.leave, choose: () => this.#leave(group) }];
    const { chat, profile, handOver, remove, rights } = dialogTexts.groupMember;
    const { roles, canGetGroup, canBeRemoved, canGetRights } = actionsOn(group.settings, group.own, member);
    return [
      { label: chat, choose: () => this.#openChat(user_id) },
      { label: profile, choose: () => openProfile(this.#app, user_id) },
      ...roles.map((role) => ({ label: changeTo(role), choose: () => void this.#setRole(user_id, role) })),
      ...(canGetRights ? [{ label: rights, choose: () => this.#openRights(member) }] : []),
      ...(canGetGroup ? [{ label: handOver, choose: () => this.#handOver(user_id) }] : []),
      ...(canBeRemoved ? [{ label: remove, choose: () => this.#remove(user_id) }] : []),
    ];
  }

  /** @param {string} user_id */
  #nameOf(user_id) {
    return nameOf(this.#app.chats.profiles.get(user_id));
  }

  /** @param {string} user_id */
  #openChat(user_id) {
    this.close();
    this.#app.open(directChatId(this.#app.chats.me.user_id, user_id));
  }

  /** @param {string} user_id @param {Role} role */
  async #setRole(user_id, role) {
    this.#notify("");
    try {
      await this.#change(user_id, role);
      this.#notify(dialogTexts.groupMember.changed(this.#nameOf(user_id)));
    } catch (fault) {
      this.#notify(explain(fault), true);
    }
  }

  /** @param {string} user_id @param {Role} role */
  #change(user_id, role) {
    const { api } = this.#app;
    return this.#changes.send([user_id, role], (fields) => api.changeMember(this.#chat_id, user_id, { ...fields, role }));
  }

  /** @param {Member} member */
  #openRights(member) {
    const name = this.#nameOf(member.user_id);
    const done = () => this.#notify(dialogTexts.memberRights.changed(name));
    new MemberRights(this.#app, this.#chat_id, member, name, done).open();
  }

  /** @param {string} user_id */
  #handOver(user_id) {
    const { title, words, action } = dialogTexts.groupHandOver;
    const name = this.#nameOf(user_id);
    new Confirmation({ title, words: words(name), action }, async () => {
      await this.#change(user_id, "ROLE_OWNER");
      this.#notify(dialogTexts.groupHandOver.done(name));
    }).open();
  }

  /** @param {string} user_id */
  #remove(user_id) {
    const { title, words, action, done } = dialogTexts.groupRemoval;
    const name = this.#nameOf(user_id);
    new Confirmation({ title, words: words(name), action }, async () => {
      await this.#end(user_id);
      this.#notify(done(name));
    }).open();
  }

  /** Ends a membership. @param {string} user_id */
  #end(user_id) {
    const path = `/v1/chats/${encodeURIComponent(this.#chat_id)}/members/${user_id}`;
    const end = (/** @type {ControlFields} */ fields) =>
      this.#app.api.signedIn("DELETE", `${path}?${new URLSearchParams(fields)}`);
    return this.#changes.send([user_id], end);
  }

  /** The owner hands the group over first, unless they are the only member. @param {Group} group */
  #leave({ own, member_count }) {
    const { title, words, lastWords, action, ownerTitle, ownerWords, choose, left } = dialogTexts.groupLeaving;
    const isOnly = member_count === 1;
    if (own.role === "ROLE_OWNER" && !isOnly) {
      const { handOver } = dialogTexts.groupMember;
      const toMembers = async () => dialog.element.addEventListener("close", () => this.#members.focus());
      /** @type {FormModal} */
      const dialog = new FormModal(ownerTitle, choose, [], toMembers, h("p", {}, ownerWords(handOver)));
      return dialog.open();
    }
    /** @type {Confirmation} */
    const question = new Confirmation({ title, words: isOnly ? lastWords : words, action }, async () => {
      await this.#end(own.user_id);
      question.element.addEventListener("close", () => this.close()); // later, so that the focus returns to the chat
      this.#app.notify(left);
    });
    question.open();
  }

  /** Shows the outcome of an action. @param {string} text @param {boolean} [isFailure] */
  #notify(text, isFailure = false) {
    this.#outcome = { text, isFailure };
    this.root.invalidate();
  }
}

/** The label of the action that gives a role. @param {Role} role */
function changeTo(role) {
  const { makeAdmin, makeMember, makeGuest } = dialogTexts.groupMember;
  return role === "ROLE_ADMIN" ? makeAdmin : role === "ROLE_GUEST" ? makeGuest : makeMember;
}
