// The two shapes of buttons: a pictogram that is named for those who do not see it, and words.

import { h } from "../dom.js";
import { icon } from "../icons.js";

/** @import {Child} from "../dom.js" */

/**
 * @param {string} label what it does
 * @param {Parameters<typeof icon>[0]} name of its pictogram
 * @param {(() => void) | null} pressed null if something else listens
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
