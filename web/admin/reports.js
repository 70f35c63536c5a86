// The reports of users by others: the open ones as a queue, or the closed ones.

import { textButton } from "../components/buttons.js";
import { emptyState } from "../components/empty.js";
import { FormModal } from "../components/modal.js";
import { displayName, withoutDirectionControls } from "../format.js";
import { timeOfId } from "../ids.js";
import { h } from "../view.js";
import { texts } from "./languages/language.js";
import { Listing } from "./pages.js";
import { ReportedFiles } from "./reported-files.js";
import { card, MoreButton, Section } from "./section.js";
import { bodyOf, stamp, usersAddress } from "./summaries.js";
import { suspendDialog } from "./suspend.js";
import { label } from "./table.js";
import { accountLabels } from "./user-details.js";

/** @import {Values} from "../components/form.js" */
/** @import {Frame} from "./section.js" */
/** @import {Place} from "./summaries.js" */
/** @import {Account, Report, ReportedMessage, Resolution} from "./types.js" */

/** The id of the section's address that shows the closed reports: `#reports/closed`. */
const CLOSED = "closed";

/** The name of a group, if it is known, and the id of the chat. @param {string} chat_id @param {string} name */
const chatLabel = (chat_id, name) => [
  name && [h("bdi", {}, withoutDirectionControls(name)), " "],
  h("span", { class: "code" }, chat_id),
];

export class Reports extends Section {
  #isClosed = false;
  /** @type {Listing<Report>} */
  #reports;
  #more;
  #files;
  /** The users in the reports, by id. @type {Map<string, Account>} */
  #users = new Map();

  /** @param {Frame} frame */
  constructor(frame) {
    super(frame);
    this.#files = new ReportedFiles(frame);
    this.#reports = this.#listing();
    this.#more = new MoreButton(frame.root, this.#reports);
  }

  /** @override @param {Place} place */
  route({ id }) {
    if ((id === CLOSED) === this.#isClosed) return;
    this.#isClosed = id === CLOSED;
    this.isReady = false;
    this.#reports = this.#listing();
    this.#more = new MoreButton(this.frame.root, this.#reports);
  }

  /** Again if the address shows the other reports by then: these are not loaded yet. @override */
  async load() {
    let read;
    do await (read = this.#reports).refresh();
    while (read !== this.#reports);
  }

  /** @override */
  content() {
    const { entries } = this.#reports;
    const list = h("div", { class: "reports" }, entries.map((report) => this.#report(report)));
    const more = this.#more.view(texts.reports.more);
    if (this.#isClosed)
      return card(
        texts.reports.closed,
        texts.reports.closedNote,
        h("p", {}, h("a", { href: "#reports" }, texts.reports.showOpen)),
        list,
        entries.length === 0 && emptyState(texts.reports.noneClosed, texts.reports.noneClosedNote),
        more,
      );
    return card(
      texts.reports.open,
      texts.reports.openNote,
      h("p", {}, h("a", { href: `#reports/${CLOSED}` }, texts.reports.showClosed)),
      list,
      entries.length === 0 && emptyState(texts.reports.none, texts.reports.noneNote),
      more,
    );
  }

  #listing() {
    const state = this.#isClosed ? "closed" : "open";
    return new Listing(async (cursor) => {
      const { reports, users, next } = await this.frame.api.reports(state, cursor);
      for (const user of users) this.#users.set(user.user_id, user);
      return { entries: reports, next };
    });
  }

  /** @param {Report} report */
  #report(report) {
    const { report_id, user_id, reporter_id, created_at_ms, reason, messages, chat_id, chat_name } = report;
    const account = this.#users.get(user_id);
    const title = `report-${report_id}`;
    const list = { class: "report-messages", "aria-label": texts.reports.messages };
    return h(
      "article",
      { key: report_id, "aria-labelledby": title },
      h(
        "h3",
        { id: title },
        this.#name(user_id),
        account && h("span", { class: "labels" }, accountLabels(account)),
      ),
      h(
        "p",
        { class: "soft facts" },
        ...[texts.reports.by, " ", this.#name(reporter_id), " · ", stamp(created_at_ms)],
      ),
      h("p", { class: "reason", dir: "auto" }, reason),
      messages.length > 0 && h("ol", list, messages.map((one) => this.#message(report, one))),
      chat_id && h("p", { class: "soft facts" }, texts.reports.chat, " ", ...chatLabel(chat_id, chat_name)),
      report.resolution === null ? this.#buttons(report, account) : this.#end(report),
    );
  }

  /** @param {Report} report @param {ReportedMessage} reported */
  #message(report, reported) {
    const { message_id, sender_id } = reported.message;
    const body = bodyOf(reported);
    return h(
      "li",
      { key: message_id },
      h("p", { class: "soft facts" }, this.#name(sender_id), " · ", stamp(timeOfId(message_id))),
      body && h("p", { class: "body", dir: "auto" }, body),
      this.#files.view(report, reported) ?? (body ? null : h("p", { class: "soft" }, texts.reports.noText)),
    );
  }

  /** A link to the user. @param {string} user_id */
  #name(user_id) {
    const account = this.#users.get(user_id);
    const words = account && [h("bdi", {}, displayName(account)), h("bdi", { class: "soft" }, `@${account.name}`)];
    return h("a", { href: usersAddress(user_id, "") }, words ?? user_id);
  }

  /** @param {Report} report @param {Account | undefined} account of the reported user */
  #buttons(report, account) {
    const isFree = account && !account.is_admin && account.suspended_at_ms === null;
    return h(
      "div",
      { class: "buttons" },
      textButton("primary", () => this.#close(report, "handled"), texts.reports.handle),
      textButton("quiet", () => this.#close(report, "dismissed"), texts.reports.dismiss),
      isFree && textButton("danger", () => suspendDialog(this.frame, account).open(), texts.user.suspend),
    );
  }

  /** @param {Report} report closed */
  #end({ resolution, note, closed_by, closed_at_ms }) {
    const isHandled = resolution === "handled";
    const state = label(isHandled ? "good" : "plain", isHandled ? texts.reports.handled : texts.reports.dismissed);
    return h(
      "div",
      { class: "end" },
      h("p", { class: "facts" }, state, " ", this.#name(closed_by ?? ""), " · ", stamp(closed_at_ms ?? 0)),
      note && h("p", { dir: "auto" }, note),
    );
  }

  /** Asks for a note, and closes the report. @param {Report} report @param {Resolution} resolution */
  #close({ report_id }, resolution) {
    const isHandled = resolution === "handled";
    const field = {
      label: texts.reports.note,
      name: "note",
      hint: texts.reports.noteNote,
      attributes: { maxlength: 200, dir: "auto", autocomplete: "off", autofocus: true },
    };
    const save = async (/** @type {Values} */ { note = "" }) => {
      await this.frame.api.closeReport(report_id, resolution, note.trim());
      this.frame.notify(isHandled ? texts.reports.isHandled : texts.reports.isDismissed);
      void this.frame.refresh();
    };
    const title = isHandled ? texts.reports.handleTitle : texts.reports.dismissTitle;
    new FormModal(title, isHandled ? texts.reports.handleReport : texts.reports.dismissReport, [field], save).open();
  }
}
