// The invite links of a group: the ones in use, and a form that creates one. A new link is shown this one time.

import { fullTime } from "../format.js";
import { GroupChanges } from "../group-changes.js";
import { may } from "../groups.js";
import { Joining } from "../joining.js";
import { dialogTexts } from "../languages/dialogs.js";
import { locale, texts } from "../languages/language.js";
import { joinAddress } from "../links.js";
import { h } from "../view.js";
import { avatar } from "./avatar.js";
import { textButton } from "./buttons.js";
import { Form } from "./form.js";
import { nameOf } from "./group-members.js";
import { actionRow, groupList, loadedView, rowButton } from "./loaded.js";
import { Modal } from "./modal.js";
import { Outcome } from "./outcome.js";

/** @import {App} from "./app-shell.js" */
/** @import {Values} from "./form.js" */
/** @import {InviteLink} from "../joining.js" */

const DAY_S = 24 * 60 * 60;
/** The times after which a link can end, in seconds. */
const LASTS = { day: DAY_S, week: 7 * DAY_S, month: 30 * DAY_S, never: 0 };
/** How often a link can be used; 0: any number of times. */
const USES = [0, 1, 5, 25, 100];

export class InviteLinks extends Modal {
  #app;
  #chat_id;
  #joining;
  #changes;
  /** Apart from the others: a repetition creates no second link, also after the change of the first one has arrived. */
  #creations;
  #list;
  #outcome = new Outcome();
  #form = new Form(this.root, (values) => this.#create(values));
  /** The address of the link that was created last; empty if none was. */
  #link = "";
  /** @type {HTMLInputElement | undefined} */
  #input;

  /** @param {App} app @param {string} chat_id of a group that is loaded */
  constructor(app, chat_id) {
    super(dialogTexts.groupInvites.title, () => this.#content());
    this.#app = app;
    this.#chat_id = chat_id;
    this.#joining = new Joining(app.api);
    this.#changes = new GroupChanges(app.api, app.chats, chat_id);
    this.#creations = new GroupChanges(app.api, app.chats);
    this.#list = groupList(app, chat_id, this, () => this.#joining.invites(chat_id));
    this.follow(app.chats, this.#outcome);
  }

  #content() {
    const { hint, current } = dialogTexts.groupInvites;
    const chat = this.#app.chats.of(this.#chat_id);
    if (!may(chat, "ADD_MEMBERS"))
      return h("p", { class: "note error", role: "alert" }, dialogTexts.groupAdd.forbidden);
    return h(
      "div",
      { class: "listed", tabindex: -1, key: "invites" }, // has the focus after a link has gone
      h("p", {}, hint),
      chat.group?.own.role !== "ROLE_GUEST" && this.#newLink(), // a link adds members, a guest only guests
      h("h3", { class: "section" }, current),
      this.#outcome.view(),
      loadedView(this.#list, ({ invites }) => this.#rows(invites)),
    );
  }

  #newLink() {
    const { ends, lasts, uses, times, create, link, once } = dialogTexts.groupInvites;
    const ends_in = Object.entries(LASTS).map(([name, seconds]) => ({
      value: seconds,
      words: lasts[/** @type {keyof typeof LASTS} */ (name)],
    }));
    return [
      h(
        "form",
        { ...this.#form.props, key: "form" },
        select("expires_in_seconds", ends, ends_in, LASTS.week),
        select("max_uses", uses, USES.map((value) => ({ value, words: times(value) })), 0),
        this.#form.error(),
        this.#form.submitButton(create),
      ),
      this.#link &&
        h(
          "div",
          { class: "field", key: this.#link },
          h("label", { for: "new-link" }, link),
          h("input", {
            ...{ id: "new-link", readonly: true, dir: "ltr", value: this.#link, "aria-describedby": "new-link-note" },
            ref: (/** @type {HTMLInputElement} */ element) => void (this.#input = element),
          }),
          h("p", { class: "note", id: "new-link-note" }, once),
          textButton("text-button", () => void this.#copy(), texts.message.copyLink),
        ),
    ];
  }

  /** @param {readonly InviteLink[]} invites */
  #rows(invites) {
    const used = invites.filter(({ is_usable }) => is_usable).reverse();
    if (!used.length) return h("p", { class: "note" }, dialogTexts.groupInvites.none);
    return h("ul", { class: "list", key: "links" }, used.map((invite) => this.#row(invite)));
  }

  /** @param {InviteLink} invite */
  #row({ invite_id = "", creator_id = "", expires_at_ms = "0", max_uses = 0, uses = 0 }) {
    const { chats } = this.#app;
    const { by, byYou, usedOf, used, until, noEnd, end, endOf } = dialogTexts.groupInvites;
    const isOwn = creator_id === chats.me.user_id;
    const profile = chats.profiles.get(creator_id);
    const lasts = expires_at_ms === "0" ? noEnd : until(fullTime(Number(expires_at_ms)));
    const detail = [max_uses ? usedOf(uses, new Intl.NumberFormat(locale).format(max_uses)) : used(uses), h("br", {}), lasts];
    const canEnd = isOwn || may(chats.of(this.#chat_id), "MANAGE");
    const name = isOwn ? byYou : by(nameOf(profile));
    return actionRow(invite_id, avatar(profile), name, detail, canEnd && rowButton(end, endOf(lasts), () => this.#end(invite_id)));
  }

  /** @param {Values} values */
  async #create({ expires_in_seconds, max_uses }) {
    const invite = { expires_in_seconds: Number(expires_in_seconds), max_uses: Number(max_uses) };
    const { token } = await this.#creations.request(["invite", invite], (fields) =>
      this.#joining.createInvite(this.#chat_id, { ...fields, ...invite }),
    );
    this.#link = joinAddress(token);
    this.#outcome.show("");
    void this.#list.load();
    this.root.after(() => this.#input?.select());
    this.root.invalidate();
  }

  async #copy() {
    const { linkCopied, notCopied } = texts.message;
    this.#input?.select();
    const isCopied = await this.#app.copyText(this.#link);
    this.#outcome.show(isCopied ? linkCopied : notCopied, !isCopied);
  }

  /** @param {string} invite_id */
  #end(invite_id) {
    void this.#outcome.of(async () => {
      await this.#changes.send([invite_id], (fields) => this.#joining.revokeInvite(this.#chat_id, invite_id, fields));
      return dialogTexts.groupInvites.ended;
    });
  }
}

/**
 * @param {string} name
 * @param {string} label
 * @param {readonly {value: number, words: string}[]} options
 * @param {number} first the one that is chosen at the start
 */
function select(name, label, options, first) {
  const id = `invite-${name}`;
  const all = options.map(({ value, words }) => h("option", { value, selected: value === first }, words));
  return h("div", { class: "field", key: name }, h("label", { for: id }, label), h("select", { id, name }, all));
}
