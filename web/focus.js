// Where the focus goes: by keyboard, and on touch screens.

/** The key as in a left-to-right page: in Arabic the next element is at the left. @param {string} key */
export function mirrored(key) {
  const others = { ArrowLeft: "ArrowRight", ArrowRight: "ArrowLeft" };
  return (document.dir === "rtl" && others[/** @type {keyof typeof others} */ (key)]) || key;
}

/**
 * Lets arrow keys, Home and End move the focus among elements.
 * @param {KeyboardEvent} event
 * @param {HTMLElement[]} elements
 * @param {number} [columns]
 */
export function moveFocus(event, elements, columns = 1) {
  const at = elements.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const steps = {
    ArrowDown: columns,
    ArrowUp: -columns,
    ArrowRight: 1,
    ArrowLeft: -1,
    Home: -at,
    End: elements.length - 1 - at,
  };
  const step = steps[/** @type {keyof typeof steps} */ (mirrored(event.key))];
  const target =
    step === undefined || (columns === 1 && event.key.match(/Left|Right/)) ? undefined : elements[at + step];
  if (!target) return false;
  event.preventDefault();
  target.focus();
  return true;
}

/** Whether the main pointer is a finger. A keyboard alone is no touch screen, although nothing can hover there. */
export const isTouchScreen = () => matchMedia("(pointer: coarse)").matches;
