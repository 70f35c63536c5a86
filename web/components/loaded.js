// Shows a value of the server: placeholders while it is loading, a button to try again after a failure.

import { may } from "../groups.js";
import { compareIds } from "../ids.js";
import { Loaded } from "../stores/loaded.js";
import { h } from "../view.js";
import { failure, skeletonRows } from "./empty.js";
import { Modal } from "./modal.js";

/** @import {App} from "./app-shell.js" */
/** @import {Versioned} from "../joining.js" */
/** @import {Children} from "../view.js" */

/**
 * @template Value
 * @param {Loaded<Value>} loaded
 * @param {(value: Value) => Children} view
 */
export function loadedView(loaded, view) {
  const { value, problem } = loaded;
  return [
    h("div", { key: "failed" }, problem && failure(problem, () => void loaded.load())),
    value === null ? !problem && skeletonRows(2) : view(value),
  ];
}

/**
 * A list of a group, for users who may add members: it is read again after each control change while the dialog is
 * open and the user still may.
 * @template {Versioned} Value
 * @param {Pick<App, "chats">} app
 * @param {string} chat_id
 * @param {Modal} modal
 * @param {() => Promise<Value>} read
 */
export function groupList({ chats }, chat_id, modal, read) {
  const version = () => chats.of(chat_id).group?.version ?? "0";
  const list = new Loaded(read, (value) => compareIds(value.version ?? "0", version()) >= 0);
  let known = "";
  const follow = () => {
    if (version() === known) return;
    known = version();
    if (may(chats.of(chat_id), "ADD_MEMBERS")) void list.load();
    else list.stop();
  };
  modal.follow(list);
  const unsubscribe = chats.subscribe(follow);
  modal.element.addEventListener("close", () => {
    unsubscribe();
    list.stop();
  });
  follow();
  return list;
}

/**
 * A row with what it is about, and buttons.
 * @param {string} key
 * @param {Children} face an avatar
 * @param {string} name
 * @param {Children} detail
 * @param {...Children} buttons
 */
export const actionRow = (key, face, name, detail, ...buttons) =>
  h(
    "li",
    { class: "action-row", key },
    face,
    h("span", { class: "words" }, h("strong", { dir: "auto" }, name), h("small", {}, detail)),
    h("span", { class: "buttons" }, ...buttons),
  );

/**
 * A button of a row: its label for screen readers names the row.
 * @param {string} words
 * @param {string} label
 * @param {() => void} press
 */
export const rowButton = (words, label, press) =>
  h("button", { class: "text-button", type: "button", "aria-label": label, onclick: press }, words);
