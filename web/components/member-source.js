// Offers the members of a chat after `@` before the caret.

import { displayName, userName } from "../format.js";
import { icon } from "../icons.js";
import { texts } from "../languages/language.js";
import { begins, matching, mentionAtEnd } from "../mentioning.js";
import { h } from "../view.js";
import { avatar } from "./avatar.js";

/** @import {Profile} from "../types.js" */
/** @import {Offer} from "./completion.js" */

/**
 * @param {string} text before the caret
 * @param {readonly Profile[]} members
 * @param {boolean} [mayMentionEveryone] whether to offer the word for all members, after those who match
 * @returns {Offer | null}
 */
export function offerMembers(text, members, mayMentionEveryone = false) {
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
  const { everyone, everyoneHint } = texts.composer;
  if (mayMentionEveryone && begins(everyone, written.typed))
    choices.push({
      key: "everyone",
      content: [
        h("span", { class: "avatar group colour-8" }, icon("users")),
        h("bdi", { class: "name" }, everyone),
        h("bdi", { class: "soft" }, everyoneHint),
      ],
      text: `@${everyone} `,
    });
  return { label: texts.composer.members, start: written.start, choices };
}
