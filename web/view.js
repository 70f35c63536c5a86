// Renders views. A view is a function that returns a description of the page for the present state; the renderer
// changes the page to match it, at most once a frame. A text only becomes a text node.

/** @typedef {Record<string, unknown>} Props attributes, and listeners under keys such as `onclick` */
/** @typedef {Description | Memo | Node | string | number | boolean | null | undefined} Child */
/** @typedef {Child | readonly any[]} Children lists of children may be nested */

/** A page that is not drawn, such as a tab in the background, is rendered after this time. */
const FRAME_DEADLINE_MS = 250;
const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "path", "circle"]);

/** An element as it should be. */
class Description {
  /** @param {string} tag @param {Props} props @param {readonly Children[]} children */
  constructor(tag, props, children) {
    this.tag = tag;
    this.props = props;
    this.children = children;
    this.key = /** @type {string | undefined} */ (props["key"]);
  }
}

/** A part of a view that is only rendered again after a change of its dependencies. */
class Memo {
  /** @param {string} key @param {readonly unknown[]} deps @param {() => Child} view */
  constructor(key, deps, view) {
    this.key = key;
    this.deps = deps;
    this.view = view;
  }
}

/**
 * Describes an element. Attributes that are false, null or undefined are left out; true gives an empty one. Special
 * props: `key` identifies the element among its siblings, `ref` is called with the new element.
 * @param {string} tag
 * @param {Props} [props]
 * @param {...Children} children
 */
export const h = (tag, props = {}, ...children) => new Description(tag, props, children);

/**
 * A part that is rendered again only if a dependency is another value than before.
 * @param {string} key among its siblings
 * @param {readonly unknown[]} deps everything on which the part depends
 * @param {() => Child} view
 */
export const memo = (key, deps, view) => new Memo(key, deps, view);

/** Rises when all memos have to be rendered again. */
let generation = 0;

/** Renders all memos again: a value that all memos use has changed, such as the format of times. */
export const renderMemosAgain = () => void generation++;

/** The rendered form of a child. */
class Instance {
  /** @type {readonly Instance[]} */
  children = [];
  /** @type {readonly unknown[] | null} */
  deps = null;
  generation = 0;
  /** @type {Props} */
  props = {};

  /** @param {string} key @param {string} kind @param {Node} node */
  constructor(key, kind, node) {
    this.key = key;
    this.kind = kind;
    this.node = node;
  }
}

/**
 * The listeners of an element by event type: one listener of the browser calls the present one.
 * @type {WeakMap<EventTarget, Record<string, unknown>>}
 */
const listeners = new WeakMap();

export class Root {
  #parent;
  #view;
  #frame;
  /** @type {readonly Instance[]} */
  #children = [];
  #isWaiting = false;
  #isStopped = false;
  /** @type {(() => void)[]} */
  #after = [];
  /** Called before a rendering in a frame, which shows its changes. */
  before = () => {};

  /**
   * @param {Element} parent whose children all come from the view
   * @param {() => Children} view
   * @param {(work: () => void) => void} [frame] runs the work in the next frame
   */
  constructor(parent, view, frame = inNextFrame) {
    this.#parent = parent;
    this.#view = view;
    this.#frame = frame;
  }

  /** Renders in the next frame, once for any number of calls before it. */
  invalidate = () => {
    if (this.#isWaiting || this.#isStopped) return;
    this.#isWaiting = true;
    this.#frame(() => {
      try {
        if (!this.#isStopped) this.before();
      } finally {
        this.#isWaiting = false;
      }
      if (!this.#isStopped) this.render();
    });
  };

  /** Runs the work when the view that is being described is on the page. @param {() => void} work */
  after(work) {
    this.#after.push(work);
  }

  render() {
    const view = this.#view();
    const focus = new Focus();
    this.#children = patchChildren(this.#parent, this.#children, [view]);
    focus.restore();
    for (const work of this.#after.splice(0)) work();
  }

  stop() {
    this.#isStopped = true;
  }
}

/**
 * Keeps the focus: moving an element takes it away, and after the removal of an element it goes to the nearest
 * remaining element around it that can have it.
 */
class Focus {
  #active = document.activeElement;
  /** @type {Element[]} */
  #around = [];

  constructor() {
    for (let one = this.#active; one && one !== document.body; one = one.parentElement) this.#around.push(one);
  }

  restore() {
    if (document.activeElement === this.#active) return;
    const canHaveIt = (/** @type {Element} */ one) => one === this.#active || one.hasAttribute("tabindex");
    const target = this.#around.find((one) => one.isConnected && canHaveIt(one));
    /** @type {HTMLElement | undefined} */ (target)?.focus({ preventScroll: true });
  }
}

/**
 * Changes the children of an element: those with the same key and kind stay, in their new order.
 * @param {Node} parent
 * @param {readonly Instance[]} before
 * @param {readonly Children[]} children
 */
function patchChildren(parent, before, children) {
  const left = new Map(before.map((instance) => [instance.key, instance]));
  /** @type {Instance[]} */
  const after = [];
  const taken = new Set();
  /** @param {Children} child @param {string} place */
  const add = (child, place) => {
    if (Array.isArray(child)) return child.forEach((one, at) => add(one, `${place}.${at}`));
    const one = /** @type {Child} */ (child);
    if (one === null || one === undefined || typeof one === "boolean") return;
    let key = (one instanceof Description || one instanceof Memo ? one.key : undefined) ?? place;
    while (taken.has(key)) key += "'";
    taken.add(key);
    const old = left.get(key);
    const instance = patch(old, one, key);
    if (instance === old) left.delete(key);
    after.push(instance);
  };
  children.forEach((child, at) => add(child, ` ${at}`));
  for (const { node } of left.values()) parent.removeChild(node);
  let place = parent.firstChild;
  for (const { node } of after) {
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
  return after;
}

/**
 * The old instance, changed, if it can become the child; otherwise a new one.
 * @param {Instance | undefined} old
 * @param {Child} child
 * @param {string} key
 */
function patch(old, child, key) {
  const deps = child instanceof Memo ? child.deps : null;
  const isFresh = old?.generation === generation;
  if (isFresh && old.deps && deps && deps.every((value, at) => Object.is(value, old.deps?.[at]))) return old;
  const content = (child instanceof Memo ? child.view() : child) ?? "";
  const instance = old && fits(old, content) ? old : make(content, key);
  instance.deps = deps;
  instance.generation = generation;
  if (content instanceof Description) {
    const element = /** @type {Element} */ (instance.node);
    setProps(element, instance.props, content.props);
    instance.props = content.props;
    instance.children = patchChildren(element, instance.children, content.children);
    if (instance !== old) /** @type {((element: Element) => void) | undefined} */ (content.props["ref"])?.(element);
  } else if (instance.kind === "#text" && /** @type {Text} */ (instance.node).data !== String(content)) {
    /** @type {Text} */ (instance.node).data = String(content);
  }
  return instance;
}

/** @param {Instance} old @param {Child} content */
function fits(old, content) {
  if (content instanceof Description) return old.kind === content.tag;
  return isNode(content) ? old.node === content : old.kind === "#text";
}

/** @param {Child} content @param {string} key */
function make(content, key) {
  if (content instanceof Description) return new Instance(key, content.tag, create(content.tag));
  if (isNode(content)) return new Instance(key, "#node", content);
  return new Instance(key, "#text", document.createTextNode(String(content)));
}

/** @param {unknown} content @returns {content is Node} */
const isNode = (content) => content !== null && typeof content === "object" && !(content instanceof Memo);

/** @param {string} tag */
const create = (tag) => (SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag));

/** @param {Element} element @param {Props} before @param {Props} after */
function setProps(element, before, after) {
  for (const name of Object.keys(before)) if (!(name in after)) setProp(element, name, undefined);
  for (const [name, value] of Object.entries(after)) if (value !== before[name]) setProp(element, name, value);
}

/** @param {Element} element @param {string} name @param {unknown} value */
function setProp(element, name, value) {
  if (name === "key" || name === "ref") return;
  if (name.startsWith("on")) listen(element, name.slice(2), value);
  else if (value === false || value === null || value === undefined) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : String(value));
}

/** @param {Element} element @param {string} type @param {unknown} listener */
function listen(element, type, listener) {
  const all = listeners.get(element) ?? {};
  listeners.set(element, all);
  if (!(type in all)) element.addEventListener(type, call);
  all[type] = listener;
}

/** @param {Event} event */
function call(event) {
  const listener = listeners.get(/** @type {EventTarget} */ (event.currentTarget))?.[event.type];
  if (typeof listener === "function") listener(event);
}

/** Runs the work in the next frame, or after a time if no frame is drawn. @param {() => void} work */
function inNextFrame(work) {
  let isDone = false;
  const run = () => {
    if (isDone) return;
    isDone = true;
    work();
  };
  requestAnimationFrame(run);
  setTimeout(run, FRAME_DEADLINE_MS);
}
