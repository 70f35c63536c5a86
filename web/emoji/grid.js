// The rows of the picker: sections of cells in columns, of which only the rows near the view are rendered.

/**
 * @template Cell
 * @typedef {object} Row
 * @property {number} at the number of its first cell among all cells
 * @property {number} index among the rows of its section
 * @property {readonly Cell[]} cells
 */

/**
 * The rendered part of a section. Heights are in pixels.
 * @template Cell
 * @typedef {object} Part
 * @property {string} title
 * @property {number} at the number of its first cell
 * @property {number} top of the section, from the top of the grid
 * @property {number} count of all its rows
 * @property {number} height of all its rows
 * @property {number} before height of the unrendered rows before the first rendered row
 * @property {readonly Row<Cell>[]} rows the rendered rows, near the view
 */

/** Rows that are rendered above and below the view. */
const SPARE_ROWS = 4;
/** Rows by which Page Down moves. */
const PAGE_ROWS = 6;

/** @template Cell */
export class Grid {
  /** @type {{title: string, start: number, top: number, rows: Row<Cell>[]}[]} */
  #sections = [];
  #cellSize;
  #headingSize;
  #columns;
  /** The number of cells. */
  count = 0;

  /**
   * @param {readonly {title: string, cells: readonly Cell[]}[]} sections
   * @param {{columns: number, cell: number, heading: number}} sizes cell and heading: their heights in pixels
   */
  constructor(sections, { columns, cell, heading }) {
    this.#cellSize = cell;
    this.#headingSize = heading;
    this.#columns = columns;
    let top = 0;
    for (const { title, cells } of sections.filter((one) => one.cells.length > 0)) {
      const start = this.count;
      const rows = Array.from({ length: Math.ceil(cells.length / columns) }, (_, index) => {
        const first = index * columns;
        return { at: start + first, index, cells: cells.slice(first, first + columns) };
      });
      this.#sections.push({ title, start, top, rows });
      this.count += cells.length;
      top += heading + rows.length * cell;
    }
  }

  /**
   * The sections with their rendered rows for a view.
   * @param {number} top of the view, in pixels from the top of the grid
   * @param {number} bottom
   * @returns {Part<Cell>[]}
   */
  parts(top, bottom) {
    const size = this.#cellSize;
    return this.#sections.map((section) => {
      const rowAt = (/** @type {number} */ y) => Math.floor((y - section.top - this.#headingSize) / size);
      const first = Math.max(rowAt(top) - SPARE_ROWS, 0);
      const rows = section.rows.slice(first, Math.max(rowAt(bottom) + 1 + SPARE_ROWS, 0));
      const { title, start: at, top: sectionTop } = section;
      const count = section.rows.length;
      const heights = { height: count * size, before: (rows[0]?.index ?? 0) * size };
      return { title, at, top: sectionTop, count, ...heights, rows };
    });
  }

  /** @param {number} at the number of a cell @returns {Cell | undefined} */
  cell(at) {
    const row = this.#row(at);
    return row?.cells[at - row.at];
  }

  /**
   * The scroll position at which the view shows a cell, below the heading of its section.
   * @param {number} at
   * @param {number} top of the view at present
   * @param {number} height of the view
   */
  scrolled(at, top, height) {
    const section = this.#sections.findLast(({ start }) => start <= at);
    if (!section) return top;
    const cell = section.top + this.#headingSize + Math.floor((at - section.start) / this.#columns) * this.#cellSize;
    return Math.min(Math.max(top, cell + this.#cellSize - height), cell - this.#headingSize);
  }

  /**
   * The cell to which a key moves; null if the key moves to none.
   * @param {number} at
   * @param {string} key such as ArrowDown
   */
  move(at, key) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (step) return this.#inside(at + step);
    const rows = this.#sections.flatMap((section) => section.rows);
    const from = rows.findLastIndex((row) => row.at <= at);
    const row = rows[from];
    if (!row) return null;
    if (key === "Home") return row.at;
    if (key === "End") return row.at + row.cells.length - 1;
    const down = { ArrowDown: 1, ArrowUp: -1, PageDown: PAGE_ROWS, PageUp: -PAGE_ROWS }[key];
    const target = down && rows[Math.min(Math.max(from + down, 0), rows.length - 1)];
    return target && target !== row ? target.at + Math.min(at - row.at, target.cells.length - 1) : null;
  }

  /** @param {number} at */
  #inside(at) {
    return at >= 0 && at < this.count ? at : null;
  }

  /** @param {number} at */
  #row(at) {
    return this.#sections.findLast(({ start }) => start <= at)?.rows.findLast((row) => row.at <= at);
  }
}
