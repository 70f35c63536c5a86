// The users who have asked to join a group, each to accept or to decline.

import { fullTime } from "../format.js";
import { GroupChanges } from "../group-changes.js";
import { may } from "../groups.js";
import { Joining } from "../joining.js";
import { dialogTexts } from "../languages/dialogs.js";
import { h } from "../view.js";
import { avatar } from "./avatar.js";
import { emptyState } from "./empty.js";
import { peopleFault } from "./group-fields.js";
import { nameOf } from "./group-members.js";
import { actionRow, groupList, loadedView, rowButton } from "./loaded.js";
import { Modal } from "./modal.js";
import { Outcome } from "./outcome.js";

/** @import {App} from "./app-shell.js" */
/** @import {JoinRequest} from "../joining.js" */

export class JoinRequests extends Modal {
  #app;
  #chat_id;
  #joining;
  #changes;
  #list;
  #outcome = new Outcome();

  /** @param {App} app @param {string} chat_id of a group that is loaded */
  constructor(app, chat_id) {
    super(dialogTexts.joinRequests.title, () => this.#content());
    this.#app = app;
    this.#chat_id = chat_id;
    this.#joining = new Joining(app.api);
    this.#changes = new GroupChanges(app.api, app.chats, chat_id);
    this.#list = groupList(app, chat_id, this, () => this.#joining.requests(chat_id));
    this.follow(app.chats, this.#outcome);
  }

  #content() {
    const { none, noneHint } = dialogTexts.joinRequests;
    if (!may(this.#app.chats.of(this.#chat_id), "ADD_MEMBERS"))
      return h("p", { class: "note error", role: "alert" }, dialogTexts.groupAdd.forbidden);
    return h(
      "div",
      { class: "listed", tabindex: -1, key: "requests" }, // has the focus after a row has gone
      this.#outcome.view(),
      loadedView(this.#list, ({ requests }) =>
        requests.length
          ? h("ul", { class: "list", key: "rows" }, requests.map((each) => this.#row(each)))
          : emptyState(none, noneHint),
      ),
    );
  }

  /** @param {JoinRequest} request */
  #row({ user_id, asked_at_ms }) {
    const { accept, acceptOf, decline, declineOf, askedAt } = dialogTexts.joinRequests;
    const profile = this.#app.chats.profiles.get(user_id);
    const name = nameOf(profile);
    return actionRow(
      user_id,
      avatar(profile),
      name,
      askedAt(fullTime(Number(asked_at_ms))),
      rowButton(accept, acceptOf(name), () => this.#accept(user_id, name)),
      rowButton(decline, declineOf(name), () => this.#decline(user_id, name)),
    );
  }

  /** @param {string} user_id @param {string} name */
  #accept(user_id, name) {
    const { chats } = this.#app;
    void this.#outcome.of(async () => {
      await this.#changes.add([user_id]).catch((fault) => {
        throw peopleFault(fault, [user_id], chats, chats.of(this.#chat_id).group);
      });
      return dialogTexts.joinRequests.accepted(name);
    });
  }

  /** @param {string} user_id @param {string} name */
  #decline(user_id, name) {
    void this.#outcome.of(async () => {
      await this.#changes.send([user_id], (fields) => this.#joining.decline(this.#chat_id, user_id, fields));
      return dialogTexts.joinRequests.declined(name);
    });
  }
}
