// Opens the picker of all emoji, whose modules are loaded when it is first opened.

/** @param {HTMLElement} opener @param {(emoji: string) => void} done receives the chosen emoji */
export async function pickEmoji(opener, done) {
  try {
    const picker = await import("./emoji-picker.js");
    picker.pickEmoji(opener, done);
  } catch {
    // The server is away: the next press loads the picker again.
  }
}
