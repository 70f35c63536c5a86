// Loads the page again if one of its files was not found: while Rookery is updated, processes of two versions answer.

/** Time for the update to end, in milliseconds. */
const RECOVER_AFTER_MS = 2_000;

addEventListener(
  "error",
  ({ target }) => {
    const isStyle = target instanceof HTMLLinkElement && target.rel === "stylesheet";
    if (isStyle || target instanceof HTMLScriptElement) setTimeout(() => location.reload(), RECOVER_AFTER_MS);
  },
  true,
);
