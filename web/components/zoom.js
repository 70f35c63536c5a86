// Enlarges and moves a picture: by wheel, by keys, by a double click, and by one or two fingers. A picture of its usual
// size is swiped: to the sides to turn over, down to close.

/** The largest scale; a double click shows this one. */
const MOST = 8;
const CLOSER = 2.5;
/** Pixels that an arrow key moves the picture. */
const STEP = 80;
/** A swipe is at least this many pixels long. */
const SWIPE = 60;
/** Two taps within this time, and this near, are a double click. */
const DOUBLE_MS = 300;
const DOUBLE_NEAR = 30;

/**
 * @typedef {object} Actions
 * @property {() => void} changed the scale has changed
 * @property {(by: number) => void} turn shows the next picture (1), or the one before (-1)
 * @property {() => void} close
 */
/** @typedef {{x: number, y: number}} Point in pixels from the middle of the stage */

export class Zoom {
  scale = 1;
  #actions;
  /** @type {HTMLElement | null} */
  #stage = null;
  /** @type {HTMLElement | null} */
  #picture = null;
  /** @type {Point} */
  #offset = { x: 0, y: 0 };
  /** The fingers, or the mouse, by their ids. @type {Map<number, Point>} */
  #pointers = new Map();
  /** Where the only finger began. @type {Point | null} */
  #start = null;
  #tapped = { at_ms: -Infinity, x: 0, y: 0 };

  /** @param {Actions} actions */
  constructor(actions) {
    this.#actions = actions;
  }

  get canGrow() {
    return this.scale < MOST;
  }

  /** Uses this element around pictures. @param {HTMLElement} stage */
  listen(stage) {
    this.#stage = stage;
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#moved(event));
    for (const type of /** @type {const} */ (["pointerup", "pointercancel"]))
      stage.addEventListener(type, (event) => this.#up(event));
    new ResizeObserver(() => this.#show()).observe(stage); // as when a phone is turned
  }

  /** Moves this picture from now on. @param {HTMLElement} picture */
  move(picture) {
    this.#picture = picture;
    this.#show();
  }

  reset() {
    this.scale = 1;
    this.#offset = { x: 0, y: 0 };
    this.#show();
  }

  /** @param {number} factor @param {Point} [around] the point that stays in its place */
  by(factor, around = { x: 0, y: 0 }) {
    const before = this.scale;
    this.scale = Math.min(Math.max(before * factor, 1), MOST);
    const grown = this.scale / before;
    const { x, y } = this.#offset;
    this.#offset = { x: around.x - (around.x - x) * grown, y: around.y - (around.y - y) * grown };
    this.#show();
    this.#actions.changed();
  }

  /** @param {string} key @returns {boolean} whether it was a key of this */
  keyPressed(key) {
    const moves = /** @type {Record<string, [number, number]>} */ ({ ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] });
    const factors = /** @type {Record<string, number>} */ ({ "+": 1.5, "=": 1.5, "-": 1 / 1.5, 0: 1 / MOST });
    const [move, factor] = [moves[key], factors[key]];
    if (factor) this.by(factor);
    else if (move && this.scale > 1) this.#pan(...move);
    else return false;
    return true;
  }

  /** @param {number} x @param {number} y */
  #pan(x, y) {
    this.#offset = { x: this.#offset.x + x, y: this.#offset.y + y };
    this.#show();
  }

  /** Shows the picture in its place; no farther away than its edges. */
  #show() {
    const { offsetWidth = 0, offsetHeight = 0 } = this.#picture ?? {};
    const { clientWidth = 0, clientHeight = 0 } = this.#stage ?? {};
    const within = (/** @type {number} */ value, /** @type {number} */ size, /** @type {number} */ room) => {
      const most = Math.max(size * this.scale - room, 0) / 2;
      return Math.min(Math.max(value, -most), most);
    };
    const { x, y } = this.#offset;
    this.#offset = { x: within(x, offsetWidth, clientWidth), y: within(y, offsetHeight, clientHeight) };
    this.#place(this.#offset);
  }

  /** @param {Point} offset */
  #place({ x, y }) {
    this.#picture?.style.setProperty("transform", this.scale === 1 && !x && !y ? "none" : `translate(${x}px, ${y}px) scale(${this.scale})`);
  }

  /** @param {{clientX: number, clientY: number}} event @returns {Point} */
  #pointOf({ clientX, clientY }) {
    const { left = 0, top = 0, width = 0, height = 0 } = this.#stage?.getBoundingClientRect() ?? {};
    return { x: clientX - left - width / 2, y: clientY - top - height / 2 };
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    event.preventDefault();
    this.by(Math.exp(-event.deltaY / (event.deltaMode ? 20 : 300)), this.#pointOf(event));
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (event.button || event.target instanceof HTMLVideoElement) return;
    const point = this.#pointOf(event);
    this.#stage?.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, point);
    this.#start = this.#pointers.size === 1 ? point : null;
  }

  /** @param {PointerEvent} event */
  #moved(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const point = this.#pointOf(event);
    const other = [...this.#pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.#pointers.set(event.pointerId, point);
    if (other) {
      const middle = { x: (before.x + other.x) / 2, y: (before.y + other.y) / 2 };
      this.by(distance(point, other) / Math.max(distance(before, other), 1), middle);
      this.#pan((point.x - before.x) / 2, (point.y - before.y) / 2);
    } else if (this.scale > 1) this.#pan(point.x - before.x, point.y - before.y);
    else if (this.#start) this.#place({ x: point.x - this.#start.x, y: Math.max(point.y - this.#start.y, 0) });
  }

  /** @param {PointerEvent} event */
  #up(event) {
    const point = this.#pointers.get(event.pointerId);
    this.#pointers.delete(event.pointerId);
    const start = this.#start;
    this.#start = null;
    if (!point || !start || event.type === "pointercancel") return this.#show();
    const [x, y] = [point.x - start.x, point.y - start.y];
    if (Math.hypot(x, y) < DOUBLE_NEAR / 3) return this.#tap(point);
    if (this.scale > 1) return;
    this.#show();
    if (Math.abs(x) > SWIPE && Math.abs(x) > Math.abs(y)) this.#actions.turn((x < 0) === (document.dir !== "rtl") ? 1 : -1);
    else if (y > SWIPE && y > Math.abs(x)) this.#actions.close();
  }

  /** @param {Point} point */
  #tap(point) {
    const now_ms = performance.now();
    const isDouble = now_ms - this.#tapped.at_ms < DOUBLE_MS && distance(point, this.#tapped) < DOUBLE_NEAR;
    this.#tapped = { at_ms: isDouble ? -Infinity : now_ms, ...point };
    if (isDouble) this.by(this.scale > 1 ? 1 / MOST : CLOSER, point);
    else this.#show();
  }
}

/** @param {Point} one @param {Point} other */
const distance = (one, other) => Math.hypot(one.x - other.x, one.y - other.y);
