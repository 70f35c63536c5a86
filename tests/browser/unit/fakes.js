// Fakes of browser objects (storage, and a WebSocket that the test drives) and of a server's history, and short
// constructors of values.

import { compareIds, idAbove, laterId, timeOfId } from "../../../web/ids.js";

/** Like localStorage: its keys are its own properties. */
export function fakeStorage() {
  const storage = Object.create({
    getItem: (key) => (Object.hasOwn(storage, key) ? storage[key] : null),
    setItem: (key, value) => void (storage[key] = String(value)),
    removeItem: (key) => void delete storage[key],
  });
  return storage;
}

/** A database of one user in memory, which a test can fill up (`full`), stop (`stuck`), or open again. */
export function fakeDatabase() {
  const rows = new Map();
  const database = { full: false, stuck: false, rows };
  const write = async (change) => {
    if (database.stuck) await new Promise(() => {});
    if (database.full) throw new Error("QuotaExceededError");
    change();
  };
  return Object.assign(database, {
    read: async () => [...rows.values()],
    put: (kind, id, value) => write(() => rows.set(`${kind} ${id}`, [kind, id, structuredClone(value)])),
    remove: async (kind, id) => void rows.delete(`${kind} ${id}`),
    clear: async () => rows.clear(),
  });
}

/** Two ends of a BroadcastChannel, each in a tab; `cross` lets what both send from then on arrive after that. */
export function fakeChannels() {
  const late = [];
  let isCrossing = false;
  const ends = [0, 1].map((at) => ({
    close() {},
    onmessage() {},
    postMessage(note) {
      const data = structuredClone(note);
      const deliver = () => ends[1 - at].onmessage({ data });
      if (isCrossing) late.push(deliver);
      else deliver();
    },
  }));
  const cross = (work) => {
    isCrossing = true;
    work();
    isCrossing = false;
    for (const deliver of late.splice(0)) deliver();
  };
  return { ends, cross };
}

/** A database of copied chats, with its rows; like a browser's, it copies values. */
export function fakeCopies(rows = new Map()) {
  return {
    rows,
    read: async () => [...rows],
    write: async (changed) => {
      for (const [id, value] of changed) value ? rows.set(id, structuredClone(value)) : rows.delete(id);
    },
    clear: async () => rows.clear(),
  };
}

/** A socket that records sent frames and receives the frames of the test. */
export class FakeSocket {
  sent = [];
  closed = false;
  #sequence = 0;

  constructor(url, protocol) {
    Object.assign(this, { url, protocol });
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.closed = true;
  }

  deliver(frame, sequence = this.#sequence + 1) {
    this.#sequence = sequence;
    this.onmessage({ data: JSON.stringify({ sequence: String(sequence), ...frame }) });
  }
}

export const ADA = "11";
export const MIRA = "7";
export const CHAT = "d-7-11";

/** A message in its wire form, `minutes` after Rookery's epoch. */
export function wireMessage(
  minutes,
  { sender_id = MIRA, client_message_id = `c${minutes}`, body = `text ${minutes}` } = {},
) {
  return { message_id: idAt(minutes), chat_id: CHAT, sender_id, client_message_id, text: { body } };
}

export const idAt = (minutes) => String(BigInt(minutes * 60_000) << 22n);

/** A change to the message of a minute, as the event of another minute. */
export const changeAt = (minutes, target, body, actor_id = ADA) => ({
  event_id: idAt(minutes),
  change: { chat_id: CHAT, target_id: idAt(target), actor_id, ...body },
});

/** A mark of the chat's member. */
export const markAt = (minutes, user_id, marked) => ({
  event_id: idAt(minutes),
  change: { chat_id: CHAT, actor_id: user_id, marked },
});

export const historyOf = (...minutes) => minutes.map((minute) => ({ message: wireMessage(minute) }));

/** The event of a message. */
export const sentAt = (minutes, options) => ({ event_id: idAt(minutes), message: wireMessage(minutes, options) });

/** The history of a server. The test records events, and sets the minute up to which it is complete. */
export class FakeHistory {
  complete = 1;
  isAway = false;
  /** Chats of which too much was missed. */
  tooOld = new Set();
  marks = [];
  /** What the server returns of a chat besides its events, by chat_id. */
  about = new Map();
  /** The requests: their names, with the chat. */
  requests = [];
  #events = [];

  /** A late event was logged at another minute than that of its id. */
  record(events, logged = 0) {
    for (const event of [events].flat()) this.#events.push({ ...event, logged: idAt(logged) });
  }

  chats = ({ changed_since_ms = 0 } = {}) =>
    this.#answer("chats", () => {
      const isChanged = (event) => timeOfId(laterId(event.event_id, event.logged)) >= changed_since_ms;
      const ids = new Set(this.#events.filter(isChanged).map(chatOf));
      return { chats: [...ids].map((chat_id) => this.#chat(chat_id)) };
    });

  chat = (chat_id) => this.#answer(`chat ${chat_id}`, () => this.#chat(chat_id));

  /** Pages of 100 messages. */
  messages = (chat_id, { before_id, after_id, around_id } = {}) =>
    this.#answer(`messages ${chat_id}`, () => {
      const all = this.#items(chat_id);
      const below = (id) => all.filter(({ message }) => compareIds(message.message_id, id) < 0).length;
      const start =
        around_id !== undefined ? below(around_id) - 50
        : after_id !== undefined ? below(idAbove(after_id))
        : below(before_id ?? idAt(1e9)) - 100; // prettier-ignore
      const page = all.slice(Math.max(start, 0), Math.max(start + 100, 0));
      return { messages: page, has_older: start > 0, has_newer: start + 100 < all.length };
    });

  changes = (chat_id, after) =>
    this.#answer(`changes ${chat_id}`, () => {
      if (this.tooOld.has(chat_id) || after === "0") return { too_old: true, complete_up_to: "0" };
      const isMissed = (event) => compareIds(laterId(event.event_id, event.logged), after) > 0;
      return { events: this.#of(chat_id).filter(isMissed) };
    });

  async #answer(request, answer) {
    this.requests.push(request);
    if (this.isAway) throw new Error("away");
    return structuredClone({ complete_up_to: idAt(this.complete), ...answer() });
  }

  #chat(chat_id) {
    return { chat_id, marks: this.marks, newest: this.#items(chat_id).at(-1), ...this.about.get(chat_id) };
  }

  #of(chat_id) {
    const events = this.#events.filter((event) => chatOf(event) === chat_id);
    return events.sort((a, b) => compareIds(a.event_id, b.event_id));
  }

  /** The messages with their states. */
  #items(chat_id) {
    const events = this.#of(chat_id);
    const isOf = ({ message_id }) => ({ change }) => change?.target_id === message_id;
    return events.flatMap(({ message }) => (message ? [{ message, changes: events.filter(isOf(message)) }] : []));
  }
}

const chatOf = ({ message, change }) => (message ?? change).chat_id;

/** Runs all pending microtasks. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

/** A node of FakeDocument: an element or a text. Removing it takes the focus from it, as in a browser. */
class FakeNode {
  childNodes = [];
  parentNode = null;
  #attributes = new Map();
  #listeners = new Map();

  constructor(page, tagName, data = "") {
    Object.assign(this, { page, tagName, text: data });
  }

  get data() {
    return this.text;
  }

  set data(text) {
    this.page.changes.push(`text ${text}`);
    this.text = text;
  }

  get firstChild() {
    return this.childNodes[0] ?? null;
  }

  get nextSibling() {
    const siblings = this.parentNode.childNodes;
    return siblings[siblings.indexOf(this) + 1] ?? null;
  }

  get parentElement() {
    return this.parentNode;
  }

  get isConnected() {
    return this === this.page.body || (this.parentNode?.isConnected ?? false);
  }

  get textContent() {
    return this.text + this.childNodes.map((child) => child.textContent).join("");
  }

  get markup() {
    const inside = this.childNodes.map((child) => child.outside).join("");
    return inside;
  }

  get outside() {
    if (!this.tagName) return this.text;
    const attributes = [...this.#attributes].map(([name, value]) => ` ${name}="${value}"`).join("");
    return `<${this.tagName}${attributes}>${this.markup}</${this.tagName}>`;
  }

  insertBefore(child, place) {
    child.parentNode?.removeChild(child);
    const at = place === null ? this.childNodes.length : this.childNodes.indexOf(place);
    this.childNodes.splice(at, 0, child);
    child.parentNode = this;
    this.page.changes.push(`insert ${child.tagName}`);
  }

  removeChild(child) {
    this.childNodes.splice(this.childNodes.indexOf(child), 1);
    child.parentNode = null;
    if (!this.page.activeElement.isConnected) this.page.activeElement = this.page.body;
    this.page.changes.push(`remove ${child.tagName}`);
  }

  setAttribute(name, value) {
    this.#attributes.set(name, value);
    this.page.changes.push(`attribute ${name}`);
  }

  getAttribute(name) {
    return this.#attributes.get(name) ?? null;
  }

  removeAttribute(name) {
    this.#attributes.delete(name);
  }

  hasAttribute(name) {
    return this.#attributes.has(name);
  }

  addEventListener(type, listener) {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  /** Calls the listeners of this node, also of an event that comes up from another one. */
  dispatch(type, target = this) {
    for (const listener of this.#listeners.get(type) ?? []) listener({ type, target, currentTarget: this, preventDefault() {} });
  }

  focus() {
    this.page.activeElement = this;
  }

  click() {
    this.dispatch("click");
  }

  select() {}

  /** The controls of a form. */
  get elements() {
    return { namedItem: (name) => nodesIn(this).find((node) => node.getAttribute("name") === name) ?? null };
  }

  /** The first element below this one with an attribute, such as `[name]`. */
  querySelector(selector) {
    return nodesIn(this).find((node) => node !== this && node.hasAttribute(selector.slice(1, -1))) ?? null;
  }
}

/** The values of a form, like FormData: of a select, that of the selected option unless the test sets another. */
export class FakeFormData extends Map {
  constructor(form) {
    const named = nodesIn(form).filter((node) => node.hasAttribute("name"));
    super(named.map((node) => [node.getAttribute("name"), node.value ?? node.querySelector("[selected]")?.getAttribute("value")]));
  }
}

/** As much of a browser's document as the renderer uses; `changes` records what was done to it. */
export class FakeDocument {
  changes = [];
  body = new FakeNode(this, "body");
  activeElement = this.body;

  createElement(tag) {
    this.changes.push(`create ${tag}`);
    return new FakeNode(this, tag);
  }

  createElementNS(_, tag) {
    return this.createElement(tag);
  }

  createTextNode(text) {
    return new FakeNode(this, "", text);
  }
}

/** Gives a test a page with dialogs and forms, and further globals. */
export function usePage(context, more = {}) {
  const page = { document: withDialogs(), FormData: FakeFormData, isSecureContext: false, requestAnimationFrame: queueMicrotask, ...more };
  const before = Object.keys(page).map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
  Object.assign(globalThis, page);
  context.after(() => before.forEach(([name, own]) => (own ? Object.defineProperty(globalThis, name, own) : delete globalThis[name])));
  return page;
}

/** The height of a message in `useLines`, in pixels. */
const LINE = 100;

/** Gives a test a page with room for a number of messages of one height, which is scrolled to its end, and with popovers. */
export function useLines(context, rows) {
  const browser = { location: { origin: "https://rookery.example" }, innerWidth: 800, innerHeight: rows * LINE, ResizeObserver: FakeObserver, getComputedStyle: () => ({}) };
  const { document } = usePage(context, { ...browser, Element: FakeNode, matchMedia: () => ({ matches: false }) });
  const create = document.createElement.bind(document);
  const isMessage = ({ tagName }) => tagName === "rookery-message";
  const classesOf = (node) => (node.getAttribute("class") ?? "").split(" ");
  const namesOf = (node) => [node.tagName, ...classesOf(node).flatMap((name) => [`.${name}`, `${node.tagName}.${name}`])];
  const boxOf = (node) => {
    const all = nodesIn(document.body).filter(isMessage);
    const place = isMessage(node) ? all.indexOf(node) - Math.max(all.length - rows, 0) : 0;
    return { top: place * LINE, bottom: (place + (isMessage(node) ? 1 : rows)) * LINE };
  };
  document.createElement = (tag) => {
    const node = Object.assign(create(tag), { clientHeight: rows * LINE, scrollHeight: rows * LINE, scrollTop: 0 });
    const querySelectorAll = (selector) => nodesIn(node).filter((one) => one.tagName && namesOf(one).includes(selector));
    const closest = (selector) => (namesOf(node).includes(selector) ? node : (node.parentNode.closest?.(selector) ?? null));
    const tree = { closest, querySelectorAll, querySelector: (selector) => querySelectorAll(selector)[0] ?? null };
    const popover = { showPopover() {}, hidePopover() {}, append: (child) => node.insertBefore(child, null), style: { setProperty() {} } };
    return Object.assign(node, tree, popover, { getBoundingClientRect: () => boxOf(node) });
  };
  return { document };
}

/** An observer of sizes, which never change. */
class FakeObserver {
  observe() {}
  disconnect() {}
}

/** A document whose dialogs can be opened. */
export function withDialogs() {
  const page = Object.assign(new FakeDocument(), { visibilityState: "visible" });
  const create = page.createElement.bind(page);
  page.createElement = (tag) => Object.assign(create(tag), { classList: { add() {} }, open: false, showModal() { this.open = true; }, close() { this.open = false; } });
  page.body.append = (child) => page.body.insertBefore(child, null);
  return page;
}

/** A node and all nodes below it. */
export const nodesIn = (node) => [node, ...node.childNodes.flatMap(nodesIn)];
