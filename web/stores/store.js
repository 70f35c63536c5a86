// The base of the page's state: objects that call back after each change and know nothing of the page.

export class Store {
  /** @type {Set<() => void>} */
  #listeners = new Set();

  /** Returns a function that ends the calls. @param {() => void} listener called after each change */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Calls the listeners; for subclasses. */
  changed() {
    for (const listener of this.#listeners) listener();
  }
}
