// Keeps the visible lines in place while content is inserted above or below them. A view at the bottom stays at the
// bottom.

/** A view within this many pixels of the bottom, one line of text, counts as at the bottom. */
const NEAR = 32;

export class ScrollAnchor {
  #scroller;
  #content;
  #lines;
  #atBottom = true;
  /** @type {{element: Element, top: number} | null} */
  #anchor = null;

  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} content
   * @param {string} lines a selector of the children of the content that keep their order and can serve as the anchor
   * @param {() => void} scrolled called after each scroll
   */
  constructor(scroller, content, lines, scrolled) {
    this.#scroller = scroller;
    this.#content = content;
    this.#lines = lines;
    scroller.addEventListener(
      "scroll",
      () => {
        this.#remember();
        scrolled();
      },
      { passive: true },
    );
    const resized = new ResizeObserver(() => this.#restore());
    resized.observe(scroller);
    resized.observe(content);
  }

  get atBottom() {
    return this.#atBottom;
  }

  /** The distance to the bottom, in pixels. */
  get below() {
    const { scrollHeight, clientHeight, scrollTop } = this.#scroller;
    return scrollHeight - clientHeight - scrollTop;
  }

  /** Changes the content without moving the visible lines. @param {() => void} change */
  preserve(change) {
    this.#remember();
    change();
    this.#restore();
  }

  toBottom() {
    this.#atBottom = true;
    this.#restore();
  }

  /** Scrolls a line to the top of the view. @param {Element} element */
  toTopOf(element) {
    this.#scroller.scrollTop += element.getBoundingClientRect().top - this.#scroller.getBoundingClientRect().top;
    this.#remember();
  }

  #remember() {
    this.#atBottom = this.below < NEAR;
    const { top } = this.#scroller.getBoundingClientRect();
    const element = [...this.#content.children].find(
      (child) => child.matches(this.#lines) && child.getBoundingClientRect().bottom > top,
    );
    this.#anchor = element ? { element, top: element.getBoundingClientRect().top } : null;
  }

  #restore() {
    if (this.#atBottom) this.#scroller.scrollTop = this.#scroller.scrollHeight;
    else if (this.#anchor?.element.isConnected)
      this.#scroller.scrollTop += this.#anchor.element.getBoundingClientRect().top - this.#anchor.top;
  }
}
