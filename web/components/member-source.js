// Offers the members of a chat after `@` before the caret.

import { displayName, userName } from "../format.js";
import { texts } from "../languages/language.js";
import { matching, mentionAtEnd } from "../mentioning.js";
import { h } from "../view.js";
import { avatar } from "./avatar.js";

/** @import {Profile} from "../types.js" */
/** @import {Offer} from "./completion.js" */

/** @param {string} text before the caret @param {readonly Profile[]} members @returns {Offer | null} */
export function offerMembers(text, members) {
  const written = mentionAtEnd(text);
  if (!written) return null;
  const choices = matching(members, written.typed).map(({ member, name }) => ({
    key: member.user_id,
    content: [
      avatar(member),
      h("bdi", { class: "name" }, displayName(member)),
      h("bdi", { class: "soft" }, userName(member)),
    ],
    text: `@${name} `,
  }));
  return { label: texts.composer.members, start: written.start, choices };
}
