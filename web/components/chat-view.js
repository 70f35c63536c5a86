// The right pane: one chat, with its other member, its messages and the composer.

import { Client } from "../client.js";
import { Component, h, setText, soon } from "../dom.js";
import { displayName, userName } from "../format.js";
import { avatar, showAvatar } from "./avatar.js";
import { iconButton, textButton } from "./buttons.js";
import { Composer } from "./composer.js";
import { emptyState } from "./empty.js";
import { MessageList } from "./message-list.js";
import { ProfileDialog } from "./profile-dialogs.js";

export class ChatView extends Component {
  #back = iconButton("Back to chats", "back", () => this.shell.close(), { class: "icon-button back" });
  #avatar = avatar();
  #name = h("strong");
  #status = h("small", { "aria-live": "polite" });
  #deleted = h("p", { class: "note closed", hidden: true }, "This account was deleted. The messages stay here.");
  #messages;
  #composer;

  /** @param {Client} client @param {{close: () => void}} shell @param {string} chat_id */
  constructor(client, shell, chat_id) {
    super();
    this.client = client;
    this.shell = shell;
    this.chat_id = chat_id;
    this.#messages = new MessageList(client, chat_id);
    this.#composer = new Composer(client, chat_id, "this chat", () => this.#messages.toBottom());
  }

  /** @override */
  connected() {
    this.className = "chat";
    const other = this.client.chats.otherOf(this.chat_id);
    if (!other) return this.#showMissing();
    const profile = textButton("who", () => this.#openProfile(), this.#avatar, h("span", {}, this.#name, this.#status));
    profile.title = "Profile";
    this.replaceChildren(h("header", { class: "bar" }, this.#back, profile), this.#messages, this.#composer, this.#deleted);
    this.client.profiles.refresh(other);
    const show = soon(() => this.#show(other));
    this.listen(this.client.profiles, "change", show);
    this.listen(this.client, "typing", show);
    this.#show(other);
  }

  /**
   * Moves the focus to the text field; on a touch screen to the heading, because a keyboard would cover the chat.
   */
  focusStart() {
    if (matchMedia("(hover: hover)").matches) this.#composer.focus();
    else this.#back.focus();
  }

  /** @param {string} other */
  #show(other) {
    const profile = this.client.profiles.get(other);
    if (this.client.profiles.isMissing(other)) return this.#showMissing();
    showAvatar(this.#avatar, profile);
    setText(this.#name, profile ? displayName(profile) : " ");
    const typing = this.client.typing.isShown(this.chat_id);
    setText(this.#status, typing ? "typing…" : profile ? userName(profile) : " ");
    this.#status.classList.toggle("typing", typing);
    if (profile) this.#composer.setName(displayName(profile));
    this.#composer.hidden = profile?.deleted ?? false;
    this.#deleted.hidden = !this.#composer.hidden;
  }

  #showMissing() {
    this.replaceChildren(
      h("header", { class: "bar" }, this.#back),
      emptyState("Chat not found", "The address may be wrong, or the chat belongs to someone else."),
    );
  }

  #openProfile() {
    const profile = this.client.partner(this.chat_id);
    if (profile) new ProfileDialog(profile).open();
  }
}

customElements.define("rookery-chat", ChatView);
