// The emoji that react with one press, with their names for screen readers.

/** @type {readonly (readonly [emoji: string, name: string])[]} */
export const REACTIONS = [
  ["👍", "thumbs up"], ["❤️", "heart"], ["😂", "tears of joy"], ["🔥", "fire"], ["👀", "eyes"],
];
