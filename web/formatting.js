// Parses the markup of messages: a small subset of Markdown, described in docs/client-guide.md. The parser returns a
// tree and never fails: a text that is no markup is text. Its time is linear in the length of the text: lines are read
// once per level of quotes, and each marker of a line once. Markup inside a line ends in that line. Pure functions.

import { Names } from "./mentions.js";

/** @import {Mention} from "./wire.js" */

/**
 * Every node covers the part of the source from `start` to `end`; the blocks of a message cover all of it.
 * @typedef {{start: number, end: number}} Span
 * @typedef {Span & {kind: "text" | "code", text: string}} Plain
 * @typedef {Span & {kind: "link", text: string, url: string}} Link text equals url for an address without a text
 * @typedef {Span & {kind: "mention", text: string, mention: Mention}} Mentioned its text is `@` and the written name
 * @typedef {Span & {kind: "bold" | "italic" | "struck" | "spoiler", children: Inline[]}} Marked
 * @typedef {Plain | Link | Mentioned | Marked} Inline
 * @typedef {Span & {kind: "paragraph", children: Inline[]}} Paragraph
 * @typedef {Span & {kind: "fence", text: string, language: string}} Fence a code block
 * @typedef {Span & {kind: "quote", children: Block[]}} Quote
 * @typedef {{marker: string, children: Inline[], lists: List[]}} Item its lists are empty on the second level
 * @typedef {Span & {kind: "list", isOrdered: boolean, items: Item[]}} List
 * @typedef {Paragraph | Fence | Quote | List} Block
 */

/** Quotes in quotes; deeper ones are text. Inline markup nests at most once per marker, and lists twice. */
const MAX_QUOTES = 4;
/** Nodes with markup, and lines of quotes, in a message; the markup after them is text. */
const MAX_NODES = 1_000;
/** Backticks on each side of code in a line; a bound, so that a line is searched for each number of them once in vain. */
const MAX_BACKTICKS = 3;
/** Shown for a spoiler where it cannot be opened. */
const COVER = "▒▒▒";
/** Around a text whose direction depends on nothing but itself, and has no effect on the text around it. */
const [ISOLATE, END_ISOLATE] = ["\u2068", "\u2069"];

/** How lines of blocks begin. */
const BLOCK = /^(?:```|[> \d-])/;
const FENCE = /^```([\w+#.-]{0,30})[ \t\r]*$/;
const FENCE_END = /^```[ \t\r]*$/;
const QUOTE = /^>(?: |\r?$)/;
const ITEM = /^( {0,8})(-|\d{1,9}\.) +(?=\S)/;

/** Possible markup in a line. An address has no controls of direction, which could imitate another address. */
const TOKEN = /@|`+|\*+|_+|~+|\|+|\[|https?:\/\/[^\s<>"\u202a-\u202e\u2066-\u2069]+/gi;
const IN_LINK = String.raw`[^\s()<>"\u202a-\u202e\u2066-\u2069]`;
/** A link with a text. Its address may have brackets in pairs. */
const LINK = new RegExp(String.raw`\[([^[\]]+)\]\(((?:https?://|mailto:)(?:${IN_LINK}|\(${IN_LINK}*\))+)\)`, "iy");
const KINDS = /** @type {const} */ ({ "**": "bold", "*": "italic", _: "italic", "~~": "struck", "||": "spoiler" });
/**
 * Characters beside which no marker is markup, as in snake_case, 2*3*4 and a/*.js: digits, signs of code, and letters of
 * scripts with capitals. Other scripts have words without spaces around them, or with letters joined to them.
 */
const BESIDE = /[\p{Lu}\p{Ll}\p{N}/\\<>=^+$]/u;
const BESIDE_UNDERSCORE = /[\p{L}\p{N}/\\<>=^+$]/u;

/** The function that returns the name to show for a mention, without `@`. @typedef {(mention: Mention) => string} NameOf */

/** The blocks of a message. @param {string} source @param {readonly Mention[]} [mentions] @returns {Block[]} */
export const parse = (source, mentions = []) => new Parser(source, mentions).message();

/**
 * A message without its markup, for a single line; spoilers stay covered, and names have their own directions.
 * @param {string} source
 * @param {readonly Mention[]} [mentions]
 * @param {NameOf} [nameOf]
 */
export const plainText = (source, mentions, nameOf = ({ name = "" }) => name) =>
  parse(source, mentions)
    .map((block) => plainBlock(block, nameOf))
    .join("\n");

/** The mentions in a message, in their order; none in code. @param {readonly Block[]} blocks @returns {Mentioned[]} */
export const mentionedIn = (blocks) => blocks.flatMap(inBlock);

/**
 * A message with its markup, and other names for the mentioned users.
 * @param {string} source
 * @param {readonly Mention[]} mentions
 * @param {NameOf} nameOf
 */
export function withNames(source, mentions, nameOf) {
  let [text, done] = ["", 0];
  for (const { start, end, mention } of mentionedIn(parse(source, mentions))) {
    text += `${source.slice(done, start)}@${nameOf(mention)}`;
    done = end;
  }
  return text + source.slice(done);
}

class Parser {
  #source;
  #names;
  #left = MAX_NODES;

  /** @param {string} source @param {readonly Mention[]} mentions */
  constructor(source, mentions) {
    this.#source = source;
    this.#names = new Names(mentions);
  }

  message() {
    const lines = [];
    for (let start = 0, end = 0; end < this.#source.length; start = end + 1) {
      end = this.#source.indexOf("\n", start);
      if (end < 0) end = this.#source.length;
      lines.push({ start, end });
    }
    return this.#blocks(lines, this.#source.length, 0);
  }

  /** Whether the message may have one more node. */
  #take() {
    return this.#left > 0 && this.#left-- > 0;
  }

  /** @param {Span | undefined} span */
  #of(span) {
    return this.#source.slice(span?.start, span?.end);
  }

  /** @param {Span | undefined} line */
  #isBlank(line) {
    return line !== undefined && this.#of(line).trim() === "";
  }

  /**
   * @param {Span[]} lines
   * @param {number} end of the last block
   * @param {number} depth quotes around the lines
   */
  #blocks(lines, end, depth) {
    const lastFence = lines.findLastIndex((line) => FENCE_END.test(this.#of(line)));
    const blocks = /** @type {Block[]} */ ([]);
    const startOf = (/** @type {number} */ at) => lines[at]?.start ?? end;
    let from = 0; // the first line that is in no block
    const endParagraph = (/** @type {number} */ to) => {
      const span = { start: startOf(from), end: startOf(to) };
      if (from < to) blocks.push({ kind: "paragraph", ...span, children: this.#paragraph(lines, from, to) });
    };
    let at = 0;
    while (at < lines.length) {
      const found =
        this.#left > 0 &&
        BLOCK.test(this.#of(lines[at])) &&
        ((at < lastFence && this.#fence(lines, at)) ||
          (depth < MAX_QUOTES && this.#quote(lines, at, depth)) ||
          this.#list(lines, at));
      if (found) {
        endParagraph(at);
        from = found.next;
        while (this.#isBlank(lines[from])) from++;
        blocks.push({ ...found.block, start: startOf(at), end: startOf(from) });
        at = from;
      } else at++;
    }
    endParagraph(at);
    return blocks;
  }

  /**
   * The content of the lines, without blank lines in front of another block.
   * @param {Span[]} lines
   * @param {number} from
   * @param {number} to
   */
  #paragraph(lines, from, to) {
    let last = to;
    while (to < lines.length && last > from && this.#isBlank(lines[last - 1])) last--;
    const content = /** @type {Inline[]} */ ([]);
    for (const line of lines.slice(from, last)) {
      for (const node of this.#inline(line)) content.push(node);
      content.push({ kind: "text", start: line.end, end: line.end + 1, text: "\n" });
    }
    return joined(content.slice(0, -1));
  }

  /** A code block up to the next end of one. @param {Span[]} lines @param {number} at of a line before the last end */
  #fence(lines, at) {
    const [opening, language = ""] = FENCE.exec(this.#of(lines[at])) ?? [];
    if (opening === undefined || !this.#take()) return null;
    const content = /** @type {string[]} */ ([]);
    let next = at + 1;
    for (; !FENCE_END.test(this.#of(lines[next])); next++) content.push(this.#of(lines[next]));
    return { next: next + 1, block: /** @type {const} */ ({ kind: "fence", text: content.join("\n"), language }) };
  }

  /** @param {Span[]} lines @param {number} at @param {number} depth */
  #quote(lines, at, depth) {
    const quoted = /** @type {Span[]} */ ([]);
    for (let line; (line = lines[at + quoted.length]); ) {
      const prefix = QUOTE.exec(this.#of(line));
      if (!prefix || !this.#take()) break;
      quoted.push({ start: line.start + prefix[0].length, end: line.end });
    }
    const end = quoted.at(-1)?.end;
    if (end === undefined) return null;
    const block = /** @type {const} */ ({ kind: "quote", children: this.#blocks(quoted, end, depth + 1) });
    return { next: at + quoted.length, block };
  }

  /** Items of one kind, and on the second level lists of both kinds. @param {Span[]} lines @param {number} at */
  #list(lines, at) {
    const top = /** @type {List[]} */ ([]);
    let next = at;
    for (let line; (line = lines[next]); next++) {
      const [prefix, indent = "", marker = ""] = ITEM.exec(this.#of(line)) ?? [];
      const isOrdered = marker !== "-";
      const inner = indent.length > 1 ? top[0]?.items.at(-1)?.lists : undefined;
      if (!prefix || (!inner && top[0]?.isOrdered === !isOrdered) || !this.#take()) break;
      const lists = inner ?? top;
      let list = lists.at(-1);
      if (list?.isOrdered !== isOrdered) lists.push((list = { kind: "list", ...line, isOrdered, items: [] }));
      const content = { start: line.start + prefix.length, end: line.end };
      list.items.push({ marker, children: joined(this.#inline(content)), lists: [] });
      list.end = line.end;
    }
    return top[0] ? { next, block: top[0] } : null;
  }

  /** @param {Span} line @returns {Inline[]} */
  #inline(line) {
    const text = this.#of(line);
    if (!text) return [];
    if (text.search(TOKEN) < 0) return [{ kind: "text", ...line, text }];
    const nodes = /** @type {Inline[]} */ ([]);
    let open = /** @type {Opener[]} */ ([]); // one of each marker at most
    let done = 0; // up to here, the nodes cover the line
    const add = (/** @type {number} */ to, /** @type {Partial<Leaf>} */ node) => {
      const span = { start: line.start + done, end: line.start + to };
      if (to > done) nodes.push(/** @type {Leaf} */ ({ kind: "text", text: text.slice(done, to), ...node, ...span }));
      done = to;
    };
    const close = (/** @type {Mark} */ mark) => {
      const opener = open.find((each) => each.mark === mark);
      if (!opener || !this.#take()) return false;
      open = open.slice(0, open.indexOf(opener));
      const [{ start } = line, ...children] = nodes.splice(opener.node);
      done += mark.length;
      nodes.push({ kind: KINDS[mark], start, end: line.start + done, children: joined(children) });
      return true;
    };
    TOKEN.lastIndex = 0;
    for (let match; this.#left > 0 && (match = TOKEN.exec(text)); ) {
      const [token] = match;
      const at = match.index;
      const leaf = token === "@" ? this.#mention(text, at) : leafAt(text, at, token);
      if (leaf && this.#take()) {
        add(at, {});
        add((TOKEN.lastIndex = leaf.end), leaf);
        continue;
      }
      const { marks, opens, closes } = marksIn(text, at, token, open.at(-1)?.mark);
      if (marks.length) add(at, {});
      for (const mark of marks) {
        if (closes && close(mark)) continue;
        add(done + mark.length, {});
        if (opens) open = [...open.filter((opener) => opener.mark !== mark), { mark, node: nodes.length - 1 }];
      }
    }
    add(text.length, {});
    return nodes;
  }

  /** @param {string} text @param {number} at of `@` @returns {Partial<Mentioned> & {end: number} | null} */
  #mention(text, at) {
    const mention = this.#names.at(text, at);
    const written = `@${mention?.name ?? ""}`;
    return mention ? { kind: "mention", text: written, mention, end: at + written.length } : null;
  }
}

/** A marker that may begin a node, and the index of its text. @typedef {{mark: Mark, node: number}} Opener */
/** @typedef {keyof typeof KINDS} Mark */
/** @typedef {Plain | Link | Mentioned} Leaf a node without children */

/**
 * The start of the next run of exactly as many backticks; -1 without one.
 * @param {string} text
 * @param {number} from
 * @param {string} run
 */
function codeEnd(text, from, run) {
  let at = text.indexOf(run, from);
  while (at >= 0) {
    let end = at;
    while (text[end] === "`") end++;
    if (end - at === run.length) break;
    at = text.indexOf(run, end);
  }
  return at;
}

/**
 * The code or link that begins at a token.
 * @param {string} text
 * @param {number} at
 * @param {string} token
 * @returns {Partial<Plain | Link> & {end: number} | null}
 */
function leafAt(text, at, token) {
  if (token[0] === "`") {
    const start = at + token.length;
    const end = token.length > MAX_BACKTICKS ? -1 : codeEnd(text, start, token);
    return end < 0 ? null : { kind: "code", text: unpadded(text.slice(start, end)), end: end + token.length };
  }
  if (token === "[") {
    LINK.lastIndex = at;
    const [whole = "", label = "", url = ""] = LINK.exec(text) ?? [];
    return URL.canParse(url) ? { kind: "link", text: label, url, end: at + whole.length } : null;
  }
  if (!/^http/i.test(token)) return null;
  const url = address(token);
  return URL.canParse(url) ? { kind: "link", text: url, url, end: at + url.length } : null;
}

/** Code without the spaces that part it from its backticks. @param {string} code */
const unpadded = (code) => (code.length > 2 && code.startsWith(" ") && code.endsWith(" ") ? code.slice(1, -1) : code);

/** An address without the punctuation, markers and bracket of the text around it. @param {string} token */
function address(token) {
  const hasBracket = token.includes("(");
  let end = token.length;
  for (; end > 0; end--) {
    const last = token[end - 1] ?? "";
    const isMarker = (last === "~" || last === "|") && (token[end - 2] === last || token[end] === last);
    if (!".,;:!?'*_".includes(last) && !isMarker && (last !== ")" || hasBracket)) break;
  }
  return token.slice(0, end);
}

/**
 * The markers in a token, and whether they can begin and end a node.
 * @param {string} text
 * @param {number} at
 * @param {string} token
 * @param {Mark | undefined} inner the marker that was opened last
 */
function marksIn(text, at, token, inner) {
  const before = text[at - 1] ?? " ";
  const after = text[at + token.length] ?? " ";
  const beside = token === "_" ? BESIDE_UNDERSCORE : BESIDE;
  const both = inner === "**" ? ["**", "*"] : ["*", "**"];
  const marks = /** @type {Mark[]} */ (token === "***" ? both : token in KINDS ? [token] : []);
  return { marks, opens: /\S/.test(after) && !beside.test(before), closes: /\S/.test(before) && !beside.test(after) };
}

/** The nodes, with neighbouring texts as one. @param {Inline[]} nodes */
function joined(nodes) {
  const all = /** @type {Inline[]} */ ([]);
  for (const node of nodes) {
    const last = all.at(-1);
    if (node.kind === "text" && last?.kind === "text" && last.end === node.start) {
      last.text += node.text;
      last.end = node.end;
    } else all.push(node);
  }
  return all;
}

/** @param {Block} block @param {NameOf} nameOf @returns {string} */
function plainBlock(block, nameOf) {
  if (block.kind === "fence") return block.text;
  if (block.kind === "list") return plainList(block, nameOf);
  if (block.kind === "quote") return block.children.map((each) => plainBlock(each, nameOf)).join("\n");
  return plainInline(block.children, nameOf);
}

/** @param {List} list @param {NameOf} nameOf @returns {string} */
const plainList = ({ items }, nameOf) =>
  items
    .flatMap(({ marker, children, lists }) => [
      `${marker} ${plainInline(children, nameOf)}`,
      ...lists.map((list) => plainList(list, nameOf)),
    ])
    .join("\n");

/** @param {Inline[]} nodes @param {NameOf} nameOf @returns {string} */
const plainInline = (nodes, nameOf) => nodes.map((node) => plainNode(node, nameOf)).join("");

/** @param {Inline} node @param {NameOf} nameOf */
function plainNode(node, nameOf) {
  if (node.kind === "spoiler") return COVER;
  if (node.kind === "mention") return `${ISOLATE}@${nameOf(node.mention)}${END_ISOLATE}`;
  return "children" in node ? plainInline(node.children, nameOf) : node.text;
}

/** @param {Block} block @returns {Mentioned[]} */
function inBlock(block) {
  if (block.kind === "fence") return [];
  if (block.kind === "list") return inList(block);
  return block.kind === "quote" ? mentionedIn(block.children) : block.children.flatMap(inNode);
}

/** @param {List} list @returns {Mentioned[]} */
const inList = ({ items }) => items.flatMap(({ children, lists }) => [...children.flatMap(inNode), ...lists.flatMap(inList)]);

/** @param {Inline} node @returns {Mentioned[]} */
function inNode(node) {
  if (node.kind === "mention") return [node];
  return "children" in node ? node.children.flatMap(inNode) : [];
}
