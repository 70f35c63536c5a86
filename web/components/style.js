// Stylesheets that are loaded when they are first needed, since the first load of the page is limited.

import { asset } from "../asset.js";

/** By path. @type {Map<string, Promise<void>>} */
const loading = new Map();

/**
 * Resolves when the style applies.
 * @param {string} path below the page's folder
 * @returns {Promise<void>} rejects if the server is away, and the browser has not kept the stylesheet
 */
export function loadStyle(path) {
  const known = loading.get(path);
  if (known) return known;
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = asset(path);
  const loaded = /** @type {Promise<void>} */ (new Promise((resolve, reject) => {
    link.onload = () => resolve();
    link.onerror = () => {
      loading.delete(path);
      link.remove();
      reject(new Error(path));
    };
  }));
  loading.set(path, loaded);
  document.head.append(link);
  return loaded;
}
