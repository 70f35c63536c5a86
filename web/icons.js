// The page's icons as SVG paths, so that no request is needed for them.

import { h } from "./view.js";

/** @import {Child} from "./view.js" */

const PATHS = {
  audit: ["M8 6h12", "M8 12h12", "M8 18h8", "M4 6h.01", "M4 12h.01", "M4 18h.01"],
  back: ["m15 18-6-6 6-6"],
  clock: ["M21 12a9 9 0 1 1-18 0 9 9 0 0 1 18 0", "M12 7v5l3 2"],
  close: ["M18 6 6 18", "m6 6 12 12"],
  configuration: [
    "M4 7h9",
    "M19 7h1",
    "M4 17h1",
    "M11 17h9",
    "M19 7a3 3 0 1 1-6 0 3 3 0 0 1 6 0",
    "M11 17a3 3 0 1 1-6 0 3 3 0 0 1 6 0",
  ],
  down: ["M12 5v14", "m5 12 7 7 7-7"],
  forward: ["m14 6 6 6-6 6", "M20 12H10a6 6 0 0 0-6 6"],
  invites: ["M3 6h18v12H3z", "m3 7 9 7 9-7"],
  menu: ["M12 5h.01", "M12 12h.01", "M12 19h.01"],
  more: ["M12 5v14", "M5 12h14"],
  pin: ["M12 16v5", "M9 4v6l-3 4v2h12v-2l-3-4V4", "M8 4h8"],
  muted: ["M7.5 7.5C6.5 13 5 14.5 4 16h12", "M9 4.6c4-2 8.5 .4 8.5 5.4 0 1.7.3 2.9.7 3.9", "M10 20h4", "M4 4l16 16"],
  processes: ["M4 4h16v6H4z", "M4 14h16v6H4z", "M8 7h.01", "M8 17h.01"],
  react: ["M21 12a9 9 0 1 1-9-9 9 9 0 0 1 9 9", "M8 14s1.5 2 4 2 4-2 4-2", "M9 9h.01", "M15 9h.01"],
  reports: ["M5 21V4h13l-3 4.5 3 4.5H5"],
  search: ["M18 11a7 7 0 1 1-7-7 7 7 0 0 1 7 7", "m21 21-4.3-4.3"],
  send: ["M12 19V5", "m5 12 7-7 7 7"],
  star: ["m12 3 2.7 5.6 6.1.8-4.5 4.3 1.1 6.1-5.4-2.9-5.4 2.9 1.1-6.1-4.5-4.3 6.1-.8z"],
  tick: ["m5 12.5 5 5L20 7"],
  ticks: ["m1.5 12.5 5 5L16 7M12 15.5l2 2L23 7"],
  users: [
    "M12.5 7.5a3.5 3.5 0 1 1-7 0 3.5 3.5 0 0 1 7 0",
    "M2.5 20c0-4 2.5-6 6.5-6s6.5 2 6.5 6",
    "M16 4.4a3.5 3.5 0 0 1 0 6.2",
    "M18 14.6c2.2.8 3.5 2.6 3.5 5.4",
  ],
  write: ["M12 20h9", "M16.5 3.5a2.1 2.1 0 0 1 3 3L7 19l-4 1 1-4z"],
};

/** An icon; the button around it has the label. @param {keyof typeof PATHS} name */
export const icon = (name) =>
  drawing(
    "icon",
    "0 0 24 24",
    PATHS[name].map((d) => h("path", { d })),
  );

/** Rookery's mark: three eggs in a nest. */
export const mark = () =>
  drawing("mark", "0 0 32 32", [
    h("path", { d: "M4 15c4 6 20 6 24 0" }),
    h("path", { d: "M7 20c4 5 14 5 18 0" }),
    h("circle", { cx: "11", cy: "10", r: "3.2" }),
    h("circle", { cx: "18", cy: "8", r: "3.2" }),
    h("circle", { cx: "22", cy: "13", r: "2.2" }),
  ]);

/** @param {string} className @param {string} viewBox @param {Child[]} shapes */
export const drawing = (className, viewBox, shapes) =>
  h("svg", { class: className, viewBox, "aria-hidden": "true" }, shapes);
