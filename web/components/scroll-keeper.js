// Keeps what one reads where it is: whatever is put in above or below, the lines in sight stay, except that a view
// which is at the bottom stays at the bottom.

/** Nearer to the bottom than this counts as there: a line of text, in pixels. */
const NEAR = 32;

export class ScrollKeeper {
  #scroller;
  #content;
  #lines;
  #atBottom = true;
  /** @type {{element: Element, top: number} | null} */
  #anchor = null;

  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} content
   * @param {string} lines a selector of those children of the content that keep their order and so can be held on to
   * @param {() => void} scrolled called after each change of place
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

  /** How far down one could still go, in pixels. */
  get below() {
    const { scrollHeight, clientHeight, scrollTop } = this.#scroller;
    return scrollHeight - clientHeight - scrollTop;
  }

  /** Changes the content without moving what is in sight. @param {() => void} change */
  keep(change) {
    this.#remember();
    change();
    this.#restore();
  }

  toBottom() {
    this.#atBottom = true;
    this.#restore();
  }

  /** Puts a line at the top of the view. @param {Element} element */
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
