// Placeholders: nothing to show, loading, and failed to load.

import { mark } from "../icons.js";
import { texts } from "../languages/language.js";
import { h } from "../view.js";
import { textButton } from "./buttons.js";

/** The right pane while no chat is open. @param {string} title @param {string} text @param {() => void} find */
export function nothingOpen(title, text, find) {
  const button = textButton("primary", find, texts.shell.findSomeone);
  return h(
    "div",
    { class: "empty" },
    mark(),
    h("h2", {}, title),
    h("p", {}, text),
    button,
  );
}

/** @param {string} title @param {string} text */
export function emptyState(title, text) {
  return h("div", { class: "empty" }, h("h2", {}, title), h("p", {}, text));
}

/** A failure with a button to try again. @param {string} text @param {() => void} retry */
export function failure(text, retry) {
  const button = textButton("text-button", retry, texts.tryAgain);
  return h("div", { class: "failure", role: "status" }, h("span", {}, text), button);
}

/** Rows of a list that is loading. @param {number} count */
export function skeletonRows(count) {
  const row = () => {
    const lines = [h("span", { class: "skeleton line" }), h("span", { class: "skeleton line short" })];
    return h("div", { class: "row" }, h("span", { class: "avatar skeleton" }), h("span", { class: "lines" }, ...lines));
  };
  return h("div", { class: "waiting", role: "status", "aria-label": texts.loading }, ...Array.from({ length: count }, row));
}

/** Messages of history that are loading. */
export function skeletonMessages() {
  const widths = ["wide", "own", "own wide", "narrow", "wide", "own narrow"];
  const bubbles = widths.map((width) => h("span", { class: `skeleton bubble ${width}` }));
  return h("div", { class: "waiting messages-waiting", role: "status", "aria-label": texts.messages.loading }, ...bubbles);
}
