// The text of a message with its markup, as elements of the page.

import { isOnlyEmoji, withoutDirectionControls } from "../format.js";
import { parse } from "../formatting.js";
import { texts } from "../languages/language.js";
import { placeIn } from "../links.js";
import { h } from "../view.js";

/** @import {Block, Fence, Inline, Link, List, Mentioned, NameOf} from "../formatting.js" */
/** @import {Mention} from "../wire.js" */
/** @import {Child, Children} from "../view.js" */

/**
 * @typedef {object} How
 * @property {number} tabindex of links, buttons and code blocks
 * @property {(code: string) => void} copy called with the text of a code block
 * @property {readonly Mention[]} mentions
 * @property {NameOf} nameOf
 * @property {string} me the reader's user_id
 * @property {(user_id: string) => void} open called with a pressed mention's user
 */

const TAGS = /** @type {const} */ ({ bold: "strong", italic: "em", struck: "s" });
/** A link whose text looks like an address shows where it leads. A browser reads `。` in a host as a full stop. */
const LIKE_ADDRESS = /[.。]\p{L}{2}|:\/\/|@/u;

/** A changed text is a new element, whose spoilers are covered again. @param {string} body @param {How} how */
export function formatted(body, how) {
  const blocks = parse(body, how.mentions);
  const [first] = blocks;
  if (first?.kind === "paragraph" && blocks.length === 1)
    return h("span", { class: isOnlyEmoji(body) ? "text large" : "text", key: body }, inline(first.children, how));
  return h("div", { class: "text", key: body }, blocks.map((block) => ofBlock(block, how)));
}

/** @param {Block} block @param {How} how @returns {Child} */
function ofBlock(block, how) {
  if (block.kind === "fence") return fence(block, how);
  if (block.kind === "list") return list(block, how);
  if (block.kind === "quote") return h("blockquote", { dir: "auto" }, block.children.map((each) => ofBlock(each, how)));
  return block.children.length > 0 && h("p", { dir: "auto" }, inline(block.children, how));
}

/** @param {Fence} fence @param {How} how */
function fence({ text, language }, { tabindex, copy }) {
  const button = { class: "text-button", type: "button", tabindex, onclick: () => copy(text) };
  return h(
    "div",
    { class: "code-block" },
    h("div", {}, h("span", { dir: "ltr" }, language), h("button", button, texts.message.copyCode)),
    h("pre", { dir: "ltr", tabindex }, h("code", {}, text)),
  );
}

/** The numbers are those of the text. @param {List} list @param {How} how @returns {Child} */
function list({ isOrdered, items }, how) {
  const item = (/** @type {List["items"][number]} */ { marker, children, lists }) =>
    h("li", { value: isOrdered && parseInt(marker) }, inline(children, how), lists.map((inner) => list(inner, how)));
  return h(isOrdered ? "ol" : "ul", { dir: "auto" }, items.map(item));
}

/** @param {Inline[]} nodes @param {How} how @returns {Children} */
const inline = (nodes, how) => nodes.map((node) => ofInline(node, how));

/** @param {Inline} node @param {How} how @returns {Children} */
function ofInline(node, how) {
  if (node.kind === "link") return link(node, how);
  if (node.kind === "mention") return mention(node, how);
  if (!("children" in node)) return node.kind === "code" ? h("code", { dir: "ltr" }, node.text) : node.text;
  const content = inline(node.children, how);
  return node.kind === "spoiler" ? spoiler(content, how) : h(TAGS[node.kind], {}, content);
}

/**
 * A button with the present name, which has its own direction. A mention of all members opens nothing.
 * @param {Mentioned} mentioned
 * @param {How} how
 */
function mention({ mention }, { tabindex, nameOf, me, open }) {
  const { user_id = "" } = mention;
  if (!user_id) return h("span", { class: "mention own", dir: "auto" }, `@${nameOf(mention)}`);
  const look = user_id === me ? "mention own" : "mention";
  const props = { class: look, type: "button", tabindex, dir: "auto", onclick: () => open(user_id) };
  return h("button", props, `@${nameOf(mention)}`);
}

/** @param {Link} link @param {How} how */
function link({ text, url }, { tabindex }) {
  const dir = text === url ? "ltr" : "auto"; // which also isolates it: controls of direction around it have no effect
  const props = { href: url, target: leadsHere(url) ? null : "_blank", rel: "noopener noreferrer", tabindex, dir };
  const host = text === url ? "" : otherHost(text, url);
  return h("a", props, withoutDirectionControls(text), host && h("span", { class: "host", dir: "ltr" }, ` (${host})`));
}

/** The host of the url, or its mail address, if the text looks like another one. @param {string} text @param {string} url */
export function otherHost(text, url) {
  const { host, pathname } = new URL(url);
  const plain = withoutDirectionControls(text).normalize("NFKC").toLowerCase();
  const shown = plain.replace(/^https?:\/\//, "").split(/[/?#]/, 1)[0];
  const actual = host || pathname;
  return LIKE_ADDRESS.test(plain) && shown !== actual ? actual : "";
}

/** Whether an address links to a message on this page. @param {string} url */
const leadsHere = (url) => url.startsWith(`${location.origin}/#`) && placeIn(new URL(url).hash).message_id !== "";

/** A button, until it is pressed; then its content, which gets the focus. @param {Children} content @param {How} how */
function spoiler(content, { tabindex }) {
  const uncover = (/** @type {Event} */ event) => {
    const button = /** @type {HTMLElement} */ (event.currentTarget);
    const covered = /** @type {HTMLElement} */ (button.nextElementSibling);
    button.hidden = true;
    covered.hidden = false;
    covered.focus({ preventScroll: true });
  };
  return [
    h("button", { class: "spoiler", type: "button", tabindex, onclick: uncover }, texts.message.spoiler),
    h("span", { class: "uncovered", hidden: true, tabindex: -1 }, content),
  ];
}
