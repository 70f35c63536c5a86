// Places a popover beneath its opener, above it if there is no room below, and always within the window.

/** @param {HTMLElement} popover that is shown @param {Pick<Element, "getBoundingClientRect">} opener */
export function placeBeside(popover, opener) {
  const edge = parseFloat(getComputedStyle(popover).paddingTop);
  const { top, bottom, left, right } = opener.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = popover;
  const y = Math.max(edge, bottom + height + edge <= innerHeight ? bottom : top - height);
  const start = document.dir === "rtl" ? left : right - width;
  const x = Math.min(Math.max(edge, start), innerWidth - width - edge);
  popover.style.setProperty("top", `${y}px`);
  popover.style.setProperty("left", `${x}px`);
}

/**
 * Marks the opener of a popover; an opener that is only shown on hover stays visible.
 * @param {HTMLElement} opener
 * @param {boolean} isOpen
 */
export function setExpanded(opener, isOpen) {
  opener.setAttribute("aria-expanded", String(isOpen));
  opener.parentElement?.classList.toggle("held", isOpen);
}
