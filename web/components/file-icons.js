// The icons of files, which are not in the first load of the page.

import { drawing } from "../icons.js";
import { h } from "../view.js";

/** @import {Props} from "../view.js" */

const PATHS = {
  attach: ["m20 11-8.5 8.5a5 5 0 0 1-7-7L13 4a3.3 3.3 0 0 1 4.7 4.7l-8.5 8.5a1.7 1.7 0 0 1-2.4-2.4L14.5 7"],
  download: ["M12 4v11", "m7 10.5 5 5 5-5", "M5 20h14"],
  file: ["M14 3H7v18h11V7.5z", "M14 3v5h4"],
  microphone: ["M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3", "M5.5 11a6.5 6.5 0 0 0 13 0", "M12 17.5V21"],
  next: ["m9 6 6 6-6 6"],
  pause: ["M8 5v14", "M16 5v14"],
  play: ["M8 5v14l11-7z"],
  previous: ["m15 6-6 6 6 6"],
  showInChat: ["M4 5h16v11H9l-5 4z"],
  zoomIn: ["M18 11a7 7 0 1 1-7-7 7 7 0 0 1 7 7", "m21 21-4.3-4.3", "M11 8v6", "M8 11h6"],
  zoomOut: ["M18 11a7 7 0 1 1-7-7 7 7 0 0 1 7 7", "m21 21-4.3-4.3", "M8 11h6"],
};

/** @typedef {keyof typeof PATHS} FileIcon */

/** An icon; the button around it has the label. @param {FileIcon} name */
export const fileIcon = (name) =>
  drawing(`icon ${name}`, "0 0 24 24", PATHS[name].map((d) => h("path", { d })));

/**
 * A button with an icon.
 * @param {string} label
 * @param {FileIcon} name
 * @param {(() => void) | null} pressed null if another listener handles it
 * @param {Props} [props]
 */
export const fileButton = (label, name, pressed, props = {}) =>
  h("button", { class: "icon-button", type: "button", "aria-label": label, title: label, onclick: pressed, ...props }, fileIcon(name));
