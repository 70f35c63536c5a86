// The square of a picture that becomes an avatar: moved and enlarged, but always within the picture.

/** Edges of the square are at least this part of the picture's shorter one. */
const MOST_ZOOM = 8;

export class Crop {
  /** The picture's shorter edge, as multiples of the square's edge: from 1 to 8. */
  zoom = 1;
  #width;
  #height;
  /** The middle of the square, in pixels of the picture. */
  #x;
  #y;

  /** The largest square, in the middle. @param {number} width of the picture, in pixels @param {number} height */
  constructor(width, height) {
    this.#width = width;
    this.#height = height;
    this.#x = width / 2;
    this.#y = height / 2;
  }

  /** The square, in pixels of the picture. */
  get square() {
    const edge = Math.min(this.#width, this.#height) / this.zoom;
    return { left: this.#x - edge / 2, top: this.#y - edge / 2, edge };
  }

  /** Moves the square. @param {number} x by this part of its edge @param {number} y */
  move(x, y) {
    const { edge } = this.square;
    this.#x = within(this.#x + x * edge, edge / 2, this.#width - edge / 2);
    this.#y = within(this.#y + y * edge, edge / 2, this.#height - edge / 2);
  }

  /** @param {number} zoom */
  setZoom(zoom) {
    this.zoom = within(zoom, 1, MOST_ZOOM);
    this.move(0, 0);
  }

  /** Where the whole picture is, if the square fills its place, in percent of the place. */
  get place() {
    const { left, top, edge } = this.square;
    return { width: (100 * this.#width) / edge, left: (-100 * left) / edge, top: (-100 * top) / edge };
  }
}

/** @param {number} value @param {number} least @param {number} most */
const within = (value, least, most) => Math.min(Math.max(value, least), most);
