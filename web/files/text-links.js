// The links to pages in the texts of messages.

import { parse } from "../formatting.js";
import { mentionsOf, textOf } from "../kinds/edited.js";

/** @import {Message} from "../types.js" */

/** The addresses in the text of a message, each once; none in code. @param {Message} message */
export const linksIn = (message) => [...new Set(parse(textOf(message), mentionsOf(message)).flatMap(inNode))];

/** @param {any} node of the parsed text @returns {string[]} */
function inNode({ kind, url, children = [], items = [], lists = [] }) {
  if (kind === "link") return /^https?:/i.test(url) ? [url] : [];
  return [...children, ...items, ...lists].flatMap(inNode);
}
