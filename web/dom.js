// Creates elements that are built once (dialogs, forms, buttons), and keeps the lists of the admin page in step with
// data. `view.js` renders the chat page. Text only becomes text nodes.

/** @typedef {Node | string | number | false | null | undefined} Child */

/**
 * An element with attributes, listeners (keys such as `onclick`) and children. Attributes that are false, null or
 * undefined are left out; true gives an empty one.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, unknown>} [attributes]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else setAttribute(element, name, value);
  }
  element.append(...children.filter(isShown).map(asContent));
  return element;
}

/** @param {Child} child @returns {child is Node | string | number} */
const isShown = (child) => child !== false && child !== null && child !== undefined;

/** @param {Node | string | number} child */
const asContent = (child) => (child instanceof Node ? child : String(child));

/** @param {Element} element @param {string} name @param {unknown} value */
export function setAttribute(element, name, value) {
  if (value === false || value === null || value === undefined) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : String(value));
}

/**
 * Writes the text only if it differs, so that screen readers and selections are not disturbed.
 * @param {Node} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** @type {WeakMap<Element, Map<string, HTMLElement>>} */
const rendered = new WeakMap();

/**
 * Renders one child element per item, in order, moving and creating as few elements as possible.
 * @template Item
 * @template {HTMLElement} Made
 * @param {Element} parent whose children all come from here
 * @param {readonly Item[]} items
 * @param {object} how
 * @param {(item: Item) => string} how.key unique among the items
 * @param {(item: Item) => Made} how.make
 * @param {(element: Made, item: Item) => void} how.update also called once after `make`
 */
export function reconcile(parent, items, { key, make, update }) {
  const before = /** @type {Map<string, Made>} */ (rendered.get(parent) ?? new Map());
  const focused = document.activeElement;
  /** @type {Map<string, Made>} */
  const after = new Map();
  for (const item of items) after.set(key(item), before.get(key(item)) ?? make(item));
  for (const [name, element] of before) if (!after.has(name)) element.remove();
  let place = parent.firstElementChild;
  for (const element of after.values()) {
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  for (const item of items) update(/** @type {Made} */ (after.get(key(item))), item);
  rendered.set(parent, after);
  if (focused instanceof HTMLElement && focused !== document.activeElement && parent.contains(focused))
    focused.focus({ preventScroll: true });
}

/**
 * A custom element that removes its listeners on other objects when it leaves the page.
 */
export class Component extends HTMLElement {
  /** @type {AbortController | undefined} */
  #life;

  connectedCallback() {
    this.#life = new AbortController();
    this.connected();
  }

  disconnectedCallback() {
    this.#life?.abort();
  }

  /** Builds the element and adds its listeners; for subclasses. */
  connected() {}

  /**
   * @param {EventTarget} target
   * @param {string} type
   * @param {(event: any) => void} listener
   */
  listen(target, type, listener) {
    target.addEventListener(type, listener, { signal: this.#life?.signal });
  }
}
