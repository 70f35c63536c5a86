// Work with a deadline: the browser's storage, for example, may never respond.

/**
 * @template Result
 * @param {number} deadline_ms
 * @param {Promise<Result>} work
 * @returns {Promise<Result>}
 * @throws {Error} after the deadline
 */
export async function inTime(deadline_ms, work) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("no response in time")), deadline_ms);
  });
  try {
    return /** @type {Result} */ (await Promise.race([work, late]));
  } finally {
    clearTimeout(timer);
  }
}
