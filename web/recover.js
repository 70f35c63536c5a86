// Loads the page again if one of its files was not found: during an update, processes of two versions respond.

/** Time for the update to end, in milliseconds. */
const RECOVER_AFTER_MS = 2_000;
/** The links to files without which the page does not work. */
const NEEDED = ["modulepreload", "stylesheet"];

addEventListener(
  "error",
  ({ target }) => {
    const isNeeded = target instanceof HTMLLinkElement && NEEDED.includes(target.rel);
    if (isNeeded || target instanceof HTMLScriptElement) setTimeout(() => location.reload(), RECOVER_AFTER_MS);
  },
  true,
);
