// The picker of all emoji: a search, the emoji used last, and the groups of Unicode. The page has one, shown beside its
// opener. Its data are loaded when it first opens.

import { isTouchScreen, mirrored, moveFocus } from "../focus.js";
import { Catalogue, loadCatalogue } from "../emoji/catalogue.js";
import { choices, toned } from "../emoji/choices.js";
import { Grid } from "../emoji/grid.js";
import { MODIFIERS, withTone } from "../emoji/tones.js";
import { icon } from "../icons.js";
import { isForInputMethod } from "../keys.js";
import { dialogTexts } from "../languages/dialogs.js";
import { texts } from "../languages/language.js";
import { h, memo, Root } from "../view.js";
import { placeBeside, setExpanded } from "./popover-position.js";

/** @import {Emoji} from "../emoji/catalogue.js" */
/** @import {Part, Row} from "../emoji/grid.js" */

/** The icon of the emoji used last. */
const RECENT_ICON = "🕘";
/** The icons of the groups, in the order of the catalogue. */
const GROUP_ICONS = ["😀", "👋", "🐻", "🍎", "✈️", "⚽", "💡", "❤️", "🏁"];
const groupNames = () => [
  dialogTexts.picker.smileys,
  dialogTexts.picker.people,
  dialogTexts.picker.nature,
  dialogTexts.picker.food,
  dialogTexts.picker.travel,
  dialogTexts.picker.activities,
  dialogTexts.picker.objects,
  dialogTexts.picker.symbols,
  dialogTexts.picker.flags,
];
/** The names of the tones of `tones.js`. */
const toneNames = () => {
  const { none, light, mediumLight, medium, mediumDark, dark } = dialogTexts.tone;
  return [none, light, mediumLight, medium, mediumDark, dark];
};
const HAND = "✋";

class EmojiPicker {
  #element = document.createElement("div");
  /** @type {Root} */
  #root = new Root(this.#element, () => this.#view());
  /** @type {HTMLElement | null} */
  #opener = null;
  /** @type {(emoji: string) => void} */
  #done = () => {};
  #isOpen = false;
  #hasFailed = false;
  #showsTones = false;
  /** @type {Catalogue | null} */
  #catalogue = null;
  /** @type {Grid<Emoji>} */
  #grid = new Grid([], { columns: 1, cell: 1, heading: 1 });
  /** The number of the cell that is in the tab order. */
  #at = 0;

  constructor() {
    const names = { class: "emoji-picker", role: "dialog", "aria-label": texts.emoji };
    for (const [name, value] of Object.entries({ ...names, popover: "auto", tabindex: "-1" }))
      this.#element.setAttribute(name, value);
    this.#element.addEventListener("keydown", (event) => this.#keyPressed(event));
    this.#element.addEventListener("toggle", (event) => {
      if (/** @type {ToggleEvent} */ (event).newState === "closed") this.#closed();
    });
    addEventListener("resize", () => this.#isOpen && this.#resized());
  }

  /** @param {HTMLElement} opener @param {(emoji: string) => void} done */
  open(opener, done) {
    if (this.#isOpen && opener === this.#opener) return; // its click now closes the picker
    if (!this.#element.isConnected) document.body.append(this.#element);
    [this.#opener, this.#done, this.#isOpen] = [opener, done, true];
    this.#root.render();
    this.#element.showPopover();
    this.#resized();
    setExpanded(opener, true);
    // Later, so that the click that opens the picker does not close it.
    setTimeout(() => this.#isOpen && this.#setTarget(this.#element));
    // On a touch screen the keyboard would cover the emoji.
    if (isTouchScreen()) this.#element.focus();
    else this.#input?.focus();
    if (!this.#catalogue) void this.#load();
  }

  async #load() {
    this.#hasFailed = false;
    this.#root.invalidate();
    try {
      this.#catalogue = await loadCatalogue();
    } catch {
      this.#hasFailed = true;
    }
    if (this.#isOpen) this.#resized();
  }

  /** Sets the popover that the opener closes. @param {HTMLElement | null} popover */
  #setTarget(popover) {
    const button = /** @type {HTMLButtonElement | null} */ (this.#opener);
    if (button) [button.popoverTargetElement, button.popoverTargetAction] = [popover, "hide"];
  }

  #closed() {
    this.#setTarget(null);
    this.#isOpen = this.#showsTones = false;
    if (this.#opener) setExpanded(this.#opener, false);
    this.#root.render();
  }

  get #input() {
    return this.#element.querySelector("input");
  }

  get #query() {
    return this.#input?.value.trim() ?? "";
  }

  get #scroller() {
    return this.#element.querySelector(".emoji-scroller");
  }

  /** The sizes of the page, the window or the data have changed. */
  #resized() {
    this.#fill();
    if (this.#opener) placeBeside(this.#element, this.#opener);
  }

  /** Arranges the emoji of the search in rows, from the top. */
  #fill() {
    const scroller = this.#scroller;
    if (!scroller) return;
    // The button of the skin tone is as large as a cell, and the hidden heading as high as that of a section.
    const cell = this.#element.querySelector(".emoji-tone")?.clientHeight ?? 1;
    const heading = scroller.querySelector(".emoji-measure")?.clientHeight ?? 0;
    const columns = Math.max(Math.floor(scroller.clientWidth / cell), 1);
    this.#grid = new Grid(this.#sections(), { columns, cell, heading });
    this.#at = 0;
    scroller.scrollTop = 0;
    this.#root.render();
  }

  /** @returns {{title: string, cells: readonly Emoji[]}[]} */
  #sections() {
    const catalogue = this.#catalogue;
    if (!catalogue) return [];
    if (this.#query) return [{ title: dialogTexts.picker.found, cells: catalogue.search(this.#query) }];
    const recent = choices.recent.flatMap((emoji) => catalogue.find(emoji) ?? []);
    const names = groupNames();
    const groups = catalogue.groups.map((cells, at) => ({ title: names[at] ?? "", cells }));
    return [{ title: dialogTexts.picker.recent, cells: recent }, ...groups];
  }

  #view() {
    if (!this.#isOpen) return [];
    const { scrollTop = 0, clientHeight = 0 } = this.#scroller ?? {};
    const parts = this.#grid.parts(scrollTop, scrollTop + clientHeight);
    return [
      h("div", { class: "emoji-head", key: "head" }, this.#searchView(), this.#toneView()),
      this.#showsTones && this.#tonesView(),
      h("p", { class: "unseen", role: "status", key: "status" }, this.#status()),
      h(
        "div",
        { class: "emoji-scroller", key: "scroller", tabindex: "-1", onscroll: this.#root.invalidate },
        h("div", { class: "emoji-measure emoji-title", key: "measure", "aria-hidden": "true" }),
        this.#content(parts),
      ),
      this.#groupsView(parts),
    ];
  }

  /** The buttons that scroll to the groups. @param {readonly Part<Emoji>[]} parts */
  #groupsView(parts) {
    if (this.#query || parts.length === 0) return null;
    const top = this.#scroller?.scrollTop ?? 0;
    const names = groupNames();
    const here = Math.max(parts.findLastIndex((part) => part.top <= top), 0);
    return h(
      "div",
      { class: "emoji-groups", role: "toolbar", "aria-label": dialogTexts.picker.groups, key: "groups" },
      parts.map((part, at) => {
        const state = { "aria-label": part.title, title: part.title, "aria-current": at === here && "true" };
        const place = { tabindex: at === here ? 0 : -1, key: part.title, onclick: () => this.#show(part) };
        const sign = GROUP_ICONS[names.indexOf(part.title)] ?? RECENT_ICON;
        return h("button", { class: "emoji-cell", type: "button", ...state, ...place }, sign);
      }),
    );
  }

  /** Scrolls to a group. @param {Part<Emoji>} part */
  #show({ at, top }) {
    this.#at = at;
    if (this.#scroller) this.#scroller.scrollTop = top;
    this.#root.render();
  }

  #searchView() {
    const names = { "aria-label": dialogTexts.picker.search, placeholder: dialogTexts.picker.search };
    const kind = { type: "text", enterkeyhint: "go", autocomplete: "off", spellcheck: "false" };
    const input = { ...names, ...kind, oninput: () => this.#fill() };
    return h("div", { class: "search" }, icon("search"), h("input", input));
  }

  #toneView() {
    const label = dialogTexts.tone.chosen(toneNames()[choices.tone] ?? "");
    const press = () => {
      this.#showsTones = !this.#showsTones;
      this.#root.render();
      if (this.#showsTones) this.#toneButton(choices.tone)?.focus();
    };
    return h(
      "button",
      {
        ...{ class: "emoji-tone", type: "button", "aria-label": label, title: label },
        ...{ "aria-expanded": String(this.#showsTones), onclick: press },
      },
      withTone(HAND, choices.tone),
    );
  }

  #tonesView() {
    return h(
      "div",
      { class: "emoji-tones", role: "radiogroup", "aria-label": dialogTexts.tone.label, key: "tones" },
      MODIFIERS.map((_, tone) =>
        h(
          "button",
          {
            ...{ class: "emoji-cell", type: "button", role: "radio", "aria-label": toneNames()[tone] },
            ...{ "aria-checked": String(tone === choices.tone), tabindex: tone === choices.tone ? 0 : -1 },
            onclick: () => this.#chooseTone(tone),
          },
          withTone(HAND, tone),
        ),
      ),
    );
  }

  /** @param {number} tone @returns {HTMLElement | undefined} */
  #toneButton(tone) {
    return /** @type {HTMLElement | undefined} */ (this.#element.querySelectorAll("[role=radio]")[tone]);
  }

  /** @param {number} tone */
  #chooseTone(tone) {
    choices.tone = tone;
    this.#showsTones = false;
    this.#root.render();
    /** @type {HTMLElement | null} */ (this.#element.querySelector(".emoji-tone"))?.focus();
  }

  #status() {
    if (this.#hasFailed) return texts.reaction.notLoaded;
    if (!this.#catalogue) return dialogTexts.picker.loading;
    return this.#query ? dialogTexts.picker.foundCount(this.#grid.count) : "";
  }

  /** @param {readonly Part<Emoji>[]} parts */
  #content(parts) {
    if (this.#hasFailed) {
      const retry = { class: "text-button", type: "button", onclick: () => void this.#load() };
      return h("div", { class: "failure", key: "failed" }, texts.reaction.notLoaded, h("button", retry, texts.tryAgain));
    }
    if (!this.#catalogue) return h("div", { class: "skeleton emoji-waiting", key: "waiting" });
    if (this.#grid.count === 0) return h("p", { class: "emoji-none", key: "none" }, dialogTexts.picker.none);
    const rows = parts.flatMap((part) => part.rows);
    const isShown = rows.some(({ at, cells }) => at <= this.#at && this.#at < at + cells.length);
    const current = isShown ? this.#at : (rows[0]?.at ?? 0);
    this.#root.after(() => parts.forEach(({ height, before }, at) => this.#setHeight(at, height, before)));
    return parts.map((part, at) => this.#section(part, at, current));
  }

  /** @param {Part<Emoji>} part @param {number} at @param {number} current the cell in the tab order */
  #section({ title, count, rows }, at, current) {
    const id = `emoji-section-${at}`;
    const names = rows.length > 0 && { role: "grid", "aria-labelledby": id, "aria-rowcount": count };
    return h(
      "section",
      { key: title },
      h("h2", { class: "emoji-title", id }, title),
      h("div", { class: "emoji-rows", ...names }, rows.map((row) => this.#row(row, current))),
    );
  }

  /** Leaves space for the unrendered rows. @param {number} at @param {number} height @param {number} before */
  #setHeight(at, height, before) {
    const rows = /** @type {HTMLElement | undefined} */ (this.#element.querySelectorAll(".emoji-rows")[at]);
    rows?.style.setProperty("height", `${height}px`);
    rows?.style.setProperty("padding-top", `${before}px`);
  }

  /** @param {Row<Emoji>} row @param {number} current */
  #row(row, current) {
    const { at, index, cells } = row;
    const tone = choices.tone;
    const stop = at <= current && current < at + cells.length ? current - at : -1;
    return memo(String(index), [row, tone, stop], () =>
      h(
        "div",
        { class: "emoji-row", role: "row", "aria-rowindex": index + 1 },
        cells.map((cell, column) => this.#cell(cell, at + column, column === stop)),
      ),
    );
  }

  /** @param {Emoji} emoji @param {number} at @param {boolean} isCurrent */
  #cell(emoji, at, isCurrent) {
    const names = { "aria-label": emoji.name, title: `${emoji.name} :${emoji.codes[0]}:` };
    const place = { "data-at": at, tabindex: isCurrent ? 0 : -1, onclick: () => this.#choose(emoji) };
    return h("button", { class: "emoji-cell", type: "button", role: "gridcell", ...names, ...place }, toned(emoji));
  }

  /** @param {KeyboardEvent} event */
  #keyPressed(event) {
    if (isForInputMethod(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    const { key } = event;
    const target = /** @type {HTMLElement} */ (event.target);
    const cell = /** @type {HTMLElement | null} */ (target.closest("[data-at]"));
    if (cell) this.#at = Number(cell.dataset["at"]);
    const bar = target.closest("[role=radiogroup], [role=toolbar]");
    const chosen = cell || (target === this.#input && this.#query) ? this.#grid.cell(this.#at) : null;
    if (bar) {
      moveFocus(event, /** @type {HTMLElement[]} */ ([...bar.children]), bar.children.length);
    } else if (key === "Enter" && chosen) {
      event.preventDefault(); // or the key adds a line break in the field that receives the focus
      this.#choose(chosen);
    } else if (target.closest(".emoji-scroller")) {
      const next = this.#grid.move(this.#at, mirrored(key));
      if (next !== null) this.#go(event, next);
      else if (key === "ArrowUp" || key === "Backspace" || (key.length === 1 && key !== " ")) this.#input?.focus();
    } else if (key === "ArrowDown") {
      this.#go(event, this.#at);
    }
  }

  /** Moves the focus to a cell. @param {Event} event @param {number} at */
  #go(event, at) {
    const scroller = this.#scroller;
    if (!scroller || !this.#grid.cell(at)) return;
    event.preventDefault();
    this.#at = at;
    scroller.scrollTop = this.#grid.scrolled(at, scroller.scrollTop, scroller.clientHeight);
    this.#root.render();
    /** @type {HTMLElement | null} */ (scroller.querySelector(`[data-at="${at}"]`))?.focus({ preventScroll: true });
  }

  /** @param {Emoji} emoji */
  #choose(emoji) {
    choices.used(emoji.emoji);
    this.#element.hidePopover();
    this.#opener?.focus({ preventScroll: true });
    this.#done(toned(emoji));
  }
}

/** @type {EmojiPicker | null} */
let picker = null;

/** Opens the picker. @param {HTMLElement} opener @param {(emoji: string) => void} done receives the chosen emoji */
export function pickEmoji(opener, done) {
  picker ??= new EmojiPicker();
  picker.open(opener, done);
}
