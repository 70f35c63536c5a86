// Keeps the visible lines in place while lines are inserted or removed above or below them. A view at the end follows
// new lines. A spacer takes the height of lines that are removed above, and gives it to those that are inserted there:
// the other lines stay at their offsets, so that the browser does not paint them again.

/** A view within this many pixels of the bottom, one line of text, counts as at the bottom. */
const NEAR = 32;
/** A line counts as on the screen while at most this many pixels of it are cut off. */
const CUT_OFF = 4;
/** The most pixels of the spacer: browsers compute offsets in 32 bits, exact to 1/64 pixel up to 2 ** 18 pixels. */
const MAX_SPACE = 250_000;

export class ScrollAnchor {
  /** Whether the last line is the end of the chat. */
  canFollow = true;
  /** Whether earlier lines can be inserted above the first one; if not, the spacer is empty. */
  hasAbove = false;
  #scroller;
  #spacer;
  #lines;
  #selector;
  #isAtBottom = true;
  /** A line, its position on the screen, and the height between it and the spacer. */
  #anchor = /** @type {{element: Element, top: number, above: number} | null} */ (null);
  /** The height of the spacer. */
  #space = 0;
  /** The sizes at the last look: a scroll with other sizes is not the person's. */
  #sizes = "";
  /** The position at the last look. */
  #top = 0;
  #resized = new ResizeObserver(() => this.#changed());

  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} spacer the first element in the scroller
   * @param {HTMLElement} lines in the scroller
   * @param {string} selector of the lines that keep their order and can serve as the anchor
   * @param {() => void} moved called after each scroll and each change of sizes, except the scrolls of `restore`
   */
  constructor(scroller, spacer, lines, selector, moved) {
    this.#scroller = scroller;
    this.#spacer = spacer;
    this.#lines = lines;
    this.#selector = selector;
    this.moved = moved;
    scroller.addEventListener("scroll", () => this.#changed(), { passive: true });
    this.#resized.observe(scroller);
    this.#resized.observe(lines);
  }

  stop() {
    this.#resized.disconnect();
  }

  /** Whether the view is at the end, and stays there when lines are added. */
  get isFollowing() {
    return this.#isAtBottom && this.canFollow;
  }

  /** The distance to the spacer, in pixels; negative if the spacer is in view. */
  get above() {
    return this.#scroller.scrollTop - this.#space;
  }

  /** The distance to the bottom, in pixels. */
  get below() {
    const { scrollHeight, clientHeight, scrollTop } = this.#scroller;
    return scrollHeight - clientHeight - scrollTop;
  }

  toBottom() {
    this.#isAtBottom = true;
    this.#setSpace(0);
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#look();
  }

  /**
   * Scrolls up to a line, if the line is above the view or covered at its top.
   * @param {Element | null} element
   * @param {number} [above] pixels that stay free above the line, at least the covered height at the top of the view
   */
  upTo(element, above = 0) {
    if (!element) return;
    const covered = parseFloat(getComputedStyle(this.#scroller).scrollPaddingTop) || 0;
    const top = this.#scroller.getBoundingClientRect().top + Math.max(above, covered);
    this.#scroller.scrollTop += Math.min(element.getBoundingClientRect().top - top, 0);
    this.#look();
  }

  /** Remembers the lines in view, before a change. */
  remember() {
    if (this.#sizes !== this.#sizesNow) this.restore();
    else if (this.#top !== this.#scroller.scrollTop) this.#isAtBottom = this.below < NEAR;
    this.#top = this.#scroller.scrollTop;
    const { items, first } = this.#inView();
    const element = items.at(this.isFollowing ? -1 : first);
    this.#anchor = element ? { element, ...this.#positionOf(element) } : null;
  }

  /** Puts the remembered lines back in their place, after a change. */
  restore() {
    this.#fillSpace();
    this.#scroll();
    if (this.above < 0) {
      this.#setSpace(0);
      this.#scroll();
    }
    this.#isAtBottom = this.below < NEAR;
    this.#sizes = this.#sizesNow;
    this.#top = this.#scroller.scrollTop;
  }

  /**
   * The first and the last of the lines that are on the screen, counted from 0; empty if none is.
   * @returns {number[]}
   */
  visible() {
    const { items, first, bottom } = this.#inView();
    if (!items[first]) return [];
    const after = firstOf(items, (item) => item.getBoundingClientRect().bottom > bottom + CUT_OFF);
    return [first, Math.max(first, after - 1)];
  }

  /** Adds the height of lines that were removed above to the spacer, and subtracts that of inserted ones. */
  #fillSpace() {
    const anchor = this.#anchor;
    if (!anchor?.element.isConnected) return;
    const { above } = this.#positionOf(anchor.element);
    const removed = anchor.above - above;
    this.#setSpace(Math.abs(removed) < 1 ? this.#space : this.#space + removed);
    anchor.above = above;
  }

  /** Sets the height of the spacer; a height that it can't have makes it empty. @param {number} space */
  #setSpace(space) {
    const height = this.hasAbove && space > 0 && space <= MAX_SPACE ? space : 0;
    if (height !== this.#space) this.#spacer.style.setProperty("height", `${height}px`);
    this.#space = height;
  }

  /** Scrolls to the end, or to where the remembered line has its position on the screen. */
  #scroll() {
    if (this.isFollowing) this.#scroller.scrollTop = this.#scroller.scrollHeight;
    else if (this.#anchor?.element.isConnected)
      this.#scroller.scrollTop += this.#positionOf(this.#anchor.element).top - this.#anchor.top;
  }

  /** @param {Element} element */
  #positionOf(element) {
    const { top } = element.getBoundingClientRect();
    return { top, above: top - this.#spacer.getBoundingClientRect().bottom };
  }

  get #sizesNow() {
    const { scrollHeight, clientHeight } = this.#scroller;
    return `${scrollHeight} ${clientHeight}`;
  }

  /** The person scrolled, or sizes have changed; or the browser reports the scroll of `restore`. */
  #changed() {
    const isSame = this.#sizes === this.#sizesNow;
    if (isSame && this.#top === this.#scroller.scrollTop) return;
    if (isSame) this.#look();
    else this.restore();
    this.moved();
  }

  #look() {
    this.#sizes = this.#sizesNow;
    this.#isAtBottom = this.below < NEAR;
    this.remember();
  }

  #inView() {
    const { top, bottom } = this.#scroller.getBoundingClientRect();
    const items = [...this.#lines.querySelectorAll(this.#selector)];
    return { items, bottom, first: firstOf(items, (item) => item.getBoundingClientRect().bottom > top) };
  }
}

/**
 * The place of the first element that fulfils a condition, which all after it fulfil too; their number if none does.
 * @param {readonly Element[]} items
 * @param {(item: Element) => boolean} condition
 */
function firstOf(items, condition) {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (condition(/** @type {Element} */ (items[middle]))) high = middle;
    else low = middle + 1;
  }
  return low;
}
