// Notifications in the page: tracks the chat on the screen, and asks once whether to show notifications.

import * as banners from "../banners.js";
import { texts } from "../languages/language.js";
import { Notifier, shouldAsk } from "../notifier.js";
import { Tabs } from "../tabs.js";
import { h } from "../view.js";
import { textButton } from "./buttons.js";

/** @import {App} from "./app-shell.js" */
/** @import {Message} from "../types.js" */
/** @import {Settings} from "../stores/settings.js" */

export class Notifications {
  #app;
  #shownChat;
  #tabs = new Tabs();
  /** The chat whose end was on the screen last; empty if there was none. */
  #shown = "";
  #notifier;

  /** @param {App} app @param {() => string} shownChat the chat whose end is on the screen; empty if none is */
  constructor(app, shownChat) {
    this.#app = app;
    this.#shownChat = shownChat;
    this.#notifier = new Notifier(app.chats, app.settings, this.#tabs, {
      permission: banners.permission,
      show: (chat_id, texts) => banners.show(chat_id, texts, () => app.open(chat_id)),
      close: banners.close,
      playSound: () => import("../sound.js").then(({ playSound }) => playSound()).catch(() => {}),
    });
  }

  /** @param {AbortSignal} signal that ends it */
  start(signal) {
    addEventListener("focus", () => this.#tabs.used(), { signal });
    addEventListener("pagehide", () => this.#tabs.leave(), { signal });
    addEventListener("pageshow", () => this.#tabs.announce(), { signal });
    document.addEventListener("visibilitychange", () => this.rendered(), { signal });
    this.#app.chats.subscribe(() => this.#notifier.chatsChanged());
    signal.addEventListener("abort", () => {
      this.#notifier.stop();
      this.#tabs.stop();
    });
  }

  /** A message of another user arrived live, or was missed. @param {Message} message */
  arrived(message) {
    this.rendered();
    this.#notifier.arrived(message);
  }

  /** Called after each rendering: another chat may be on the screen now. */
  rendered() {
    const chat_id = this.#shownChat();
    if (chat_id === this.#shown) return;
    this.#shown = chat_id;
    this.#tabs.show(chat_id);
    if (chat_id) banners.close(chat_id); // a tab that is closed now may have shown it
  }

  /** The question, after the first sent message; not while the page shows that the connection is lost. */
  view() {
    const { sending, settings, sync } = this.#app;
    const state = { hasSent: sending.hasSent && sync.isReachable, desktop: settings.get("desktop"), permission: banners.permission() };
    return (
      shouldAsk(state) &&
      h(
        "div",
        { class: "notice question", role: "status", key: "question" },
        h("span", {}, texts.notification.question),
        h(
          "span",
          { class: "answers" },
          textButton("", () => void turnOn(settings), texts.notification.turnOn),
          textButton("", () => settings.set("desktop", "off"), texts.notification.notNow),
        ),
      )
    );
  }
}

/** Turns notifications on, if the browser and the person permit them. @param {Settings} settings */
export async function turnOn(settings) {
  const permission = await banners.askForPermission();
  settings.set("desktop", permission === "granted" ? "on" : "off");
  return permission;
}
