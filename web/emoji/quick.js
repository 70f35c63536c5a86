// The emoji for reactions with one press, with their names for screen readers.

import { texts } from "../languages/language.js";

/** @type {readonly (readonly [emoji: string, name: () => string])[]} */
export const REACTIONS = [
  ["👍", () => texts.reaction.thumbsUp],
  ["❤️", () => texts.reaction.heart],
  ["😂", () => texts.reaction.tearsOfJoy],
  ["🔥", () => texts.reaction.fire],
  ["👀", () => texts.reaction.eyes],
];
