// This device: its name in the list of the user's sign-ins, and whether a finger operates it.

import { texts } from "./languages/language.js";

/** A user agent also names the browsers that it imitates, so the most specific names are first. */
const BROWSERS = /** @type {const} */ ([
  [/\bEdgA?\//, "Edge"],
  [/\bEdgiOS\//, "Edge"],
  [/\bOPR\//, "Opera"],
  [/\b(Firefox|FxiOS)\//, "Firefox"],
  [/\b(Chrome|CriOS|HeadlessChrome)\//, "Chrome"],
  [/\bSafari\//, "Safari"],
]);
const SYSTEMS = /** @type {const} */ ([
  [/\biPhone\b/, "iPhone"],
  [/\biPad\b/, "iPad"],
  [/\bAndroid\b/, "Android"],
  [/\bCrOS\b/, "ChromeOS"],
  [/\bWindows\b/, "Windows"],
  [/\bMacintosh\b/, "macOS"],
  [/\bLinux\b/, "Linux"],
]);

/** Such as "Firefox on Windows". @param {string} userAgent */
export function deviceName(userAgent) {
  const browser = nameIn(userAgent, BROWSERS) || texts.device.unknown;
  const system = nameIn(userAgent, SYSTEMS);
  return system ? texts.device.on(browser, system) : browser;
}

/** @param {string} userAgent @param {readonly (readonly [RegExp, string])[]} names */
const nameIn = (userAgent, names) => names.find(([pattern]) => pattern.test(userAgent))?.[1] ?? "";
