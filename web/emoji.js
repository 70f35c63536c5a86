// The emoji of the reaction picker, with their names for screen readers.

/** @type {readonly (readonly [emoji: string, name: string])[]} */
export const REACTIONS = [
  ["👍", "thumbs up"], ["❤️", "heart"], ["😂", "tears of joy"], ["🎉", "party"],
  ["🔥", "fire"], ["👀", "eyes"], ["🙏", "thank you"],
  ["👎", "thumbs down"], ["😊", "smile"], ["😍", "in love"], ["😮", "surprised"],
  ["😢", "sad"], ["😡", "angry"], ["🤔", "thinking"],
  ["👏", "applause"], ["🙌", "hands up"], ["💪", "strong"], ["🤝", "handshake"],
  ["👋", "wave"], ["🤞", "fingers crossed"], ["🫡", "salute"],
  ["✅", "done"], ["❌", "no"], ["➕", "plus one"], ["❓", "question"],
  ["💡", "idea"], ["🚀", "rocket"], ["⭐", "star"],
  ["☕", "coffee"], ["🍕", "pizza"], ["🎂", "cake"], ["🌱", "seedling"],
  ["🐛", "bug"], ["🪺", "nest"], ["💤", "asleep"],
];
