// The two kinds of buttons: an icon with a label for screen readers, and text.

import { h } from "../dom.js";
import { icon } from "../icons.js";

/** @import {Child} from "../dom.js" */

/**
 * @param {string} label the button's action
 * @param {Parameters<typeof icon>[0]} name of its icon
 * @param {(() => void) | null} pressed null if another listener handles it
 * @param {Record<string, unknown>} [attributes]
 */
export function iconButton(label, name, pressed, attributes = {}) {
  const all = { class: "icon-button", type: "button", "aria-label": label, title: label, ...attributes };
  return h("button", pressed ? { ...all, onclick: pressed } : all, icon(name));
}

/**
 * @param {string} className
 * @param {() => void} pressed
 * @param {...Child} content
 */
export function textButton(className, pressed, ...content) {
  return h("button", { class: className, type: "button", onclick: pressed }, ...content);
}
