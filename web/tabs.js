// The tabs of this browser with the page. Each tab sends the others the chat on its screen and the time of its last
// use, so every tab knows whether to act for all. This needs no lock: browsers support locks only over https.

const CHANNEL = "rookery.tabs";
/** The time in which another tab answers; notifications wait longer. */
const ANSWER_MS = 150;

/**
 * @typedef {object} Tab
 * @property {string} id
 * @property {number} used_ms the time of its last use, in milliseconds since 1970
 * @property {string} screen the chat whose end is on its screen; empty if there is none
 */
/**
 * A note from a tab to the others: its state, and whether it needs theirs, as a new tab does; that the
 * tab is closed; or that the tab has handled a message.
 * @typedef {{tab: Tab, isNew?: boolean} | {closed: string} | {handled: Handled}} Note
 */
/**
 * @typedef {object} Handled
 * @property {string} chat_id
 * @property {string} message_id
 * @property {boolean} isNotified whether the tab has notified of the message
 */
/** @typedef {Pick<BroadcastChannel, "postMessage" | "close" | "onmessage">} Channel */

export class Tabs {
  /** Another tab has handled a message. @param {Handled} _handled */
  onHandled = (_handled) => {};
  #channel;
  /** @type {Tab} */
  #own;
  /** @type {Map<string, Tab>} */
  #others = new Map();

  /** @param {Channel | null} [channel] null without support for channels: then no tab knows another */
  constructor(channel = "BroadcastChannel" in globalThis ? new BroadcastChannel(CHANNEL) : null) {
    this.#channel = channel;
    this.#own = { id: `${Date.now()}.${Math.random()}`, used_ms: Date.now(), screen: "" };
    if (channel) channel.onmessage = ({ data }) => this.#receive(data);
    this.announce();
  }

  /** Announces this tab and requests the states of the others; also after the browser has restored this tab. */
  announce() {
    this.#send({ tab: this.#own, isNew: true });
  }

  /**
   * Asks the other tabs on whose screen a chat is: one that does not answer has crashed, and is forgotten until its next
   * note.
   * @param {string} chat_id
   */
  check(chat_id) {
    const asked = [...this.#others.values()].filter(({ screen }) => screen === chat_id);
    if (!asked.length) return;
    this.announce();
    setTimeout(() => {
      for (const tab of asked) if (this.#others.get(tab.id) === tab) this.#others.delete(tab.id);
    }, ANSWER_MS);
  }

  /** Called when this tab is closed, or frozen by the browser. */
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

  /** Called when the person uses this tab. */
  used() {
    this.#change({ used_ms: Date.now() });
  }

  /** @param {string} chat_id whose end is on the screen; empty if there is none */
  show(chat_id) {
    if (chat_id !== this.#own.screen) this.#change({ screen: chat_id });
  }

  /** Whether the end of a chat is on the screen of any tab. @param {string} chat_id */
  isShown(chat_id) {
    return [this.#own, ...this.#others.values()].some(({ screen }) => screen === chat_id);
  }

  /** The number of tabs that were used later than this tab: 0 if this tab acts for all. */
  get turn() {
    return [...this.#others.values()].filter((other) => isLater(other, this.#own)).length;
  }

  /** Announces that this tab has handled a message. @param {Handled} handled */
  handled(handled) {
    this.#send({ handled });
  }

  /** @param {Partial<Tab>} change */
  #change(change) {
    this.#own = { ...this.#own, ...change };
    this.#send({ tab: this.#own });
  }

  /** @param {Note} note */
  #receive(note) {
    if ("closed" in note) this.#others.delete(note.closed);
    else if ("handled" in note) this.onHandled(note.handled);
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

/** Of two tabs used at the same time, the tab with the higher id is later. @param {Tab} one @param {Tab} other */
const isLater = (one, other) =>
  one.used_ms > other.used_ms || (one.used_ms === other.used_ms && one.id > other.id);
