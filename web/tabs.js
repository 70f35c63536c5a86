// The tabs of this browser with the page. Each tells the others what is on its screen, and when it was used last; so
// every tab knows whether it is its turn to act for all. This needs no lock, which browsers have on https alone.

const CHANNEL = "rookery.tabs";

/**
 * @typedef {object} Tab
 * @property {string} id
 * @property {number} used_ms when it was used last, in milliseconds since 1970
 * @property {string} screen the chat whose end is on its screen; empty if none is
 */
/**
 * A message of a tab to the others: its state, to which they respond with theirs if it is new; that it is closed; or
 * that it has handled a message.
 * @typedef {{tab: Tab, isNew?: boolean} | {closed: string} | {handled: {chat_id: string, message_id: string}}} Note
 */
/** @typedef {Pick<BroadcastChannel, "postMessage" | "close" | "onmessage">} Channel */

export class Tabs {
  /** Another tab has handled a message. @param {string} _chat_id @param {string} _message_id */
  onHandled = (_chat_id, _message_id) => {};
  #channel;
  /** @type {Tab} */
  #own;
  /** @type {Map<string, Tab>} */
  #others = new Map();

  /** @param {Channel | null} [channel] null if the browser has none: then no tab knows of another */
  constructor(channel = "BroadcastChannel" in globalThis ? new BroadcastChannel(CHANNEL) : null) {
    this.#channel = channel;
    this.#own = { id: `${Date.now()}.${Math.random()}`, used_ms: Date.now(), screen: "" };
    if (channel) channel.onmessage = ({ data }) => this.#receive(data);
    this.announce();
  }

  /** Makes this tab known, and learns of the others; again after the browser has brought it back. */
  announce() {
    this.#send({ tab: this.#own, isNew: true });
  }

  /** This tab is closed, or the browser has put it away. */
  leave() {
    this.#others.clear();
    this.#send({ closed: this.#own.id });
  }

  /** Ends the connection to the others. */
  stop() {
    this.leave();
    this.#channel?.close();
    this.#channel = null;
  }

  /** The person uses this tab now. */
  used() {
    this.#change({ used_ms: Date.now() });
  }

  /** @param {string} chat_id whose end is on the screen; empty if none is */
  show(chat_id) {
    if (chat_id !== this.#own.screen) this.#change({ screen: chat_id });
  }

  /** Whether the end of a chat is on the screen of any tab. @param {string} chat_id */
  isShown(chat_id) {
    return [this.#own, ...this.#others.values()].some(({ screen }) => screen === chat_id);
  }

  /** How many tabs were used later than this one: 0 if this one acts for all. */
  get turn() {
    return [...this.#others.values()].filter((other) => isLater(other, this.#own)).length;
  }

  /** This tab has handled a message, so that the others need not. @param {string} chat_id @param {string} message_id */
  handled(chat_id, message_id) {
    this.#send({ handled: { chat_id, message_id } });
  }

  /** @param {Partial<Tab>} change */
  #change(change) {
    this.#own = { ...this.#own, ...change };
    this.#send({ tab: this.#own });
  }

  /** @param {Note} note */
  #receive(note) {
    if ("closed" in note) this.#others.delete(note.closed);
    else if ("handled" in note) this.onHandled(note.handled.chat_id, note.handled.message_id);
    else {
      this.#others.set(note.tab.id, note.tab);
      if (note.isNew) this.#send({ tab: this.#own });
    }
  }

  /** @param {Note} note */
  #send(note) {
    this.#channel?.postMessage(note);
  }
}

/** At the same moment the one with the higher id is later. @param {Tab} one @param {Tab} other */
const isLater = (one, other) =>
  one.used_ms > other.used_ms || (one.used_ms === other.used_ms && one.id > other.id);
