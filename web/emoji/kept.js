// Where the person's emoji choices are kept: apart from `choices.js`, since a page that shows no emoji deletes them, too.

import { SafeStorage } from "../stores/storage.js";

export const KEY = "rookery.emoji";
export const storage = new SafeStorage(() => localStorage);

/** Deletes the choices, at sign-out. */
export const forgetChoices = (from = storage) => from.removeItem(KEY);
