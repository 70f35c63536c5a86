// The two kinds of buttons: an icon with a label for screen readers, and text.

import { icon } from "../icons.js";
import { h } from "../view.js";

/** @import {Children, Props} from "../view.js" */

/**
 * @param {string} label the button's action
 * @param {Parameters<typeof icon>[0]} name of its icon
 * @param {(() => void) | null} pressed null if another listener handles it
 * @param {Props} [props]
 */
export function iconButton(label, name, pressed, props = {}) {
  const all = { class: "icon-button", type: "button", "aria-label": label, title: label, onclick: pressed, ...props };
  return h("button", all, icon(name));
}

/**
 * @param {string} className
 * @param {() => void} pressed
 * @param {...Children} content
 */
export function textButton(className, pressed, ...content) {
  return h("button", { class: className, type: "button", onclick: pressed }, ...content);
}
