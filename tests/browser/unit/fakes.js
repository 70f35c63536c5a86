// Fakes of browser objects (storage, and a WebSocket that the test drives) and short constructors of values.

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

export const historyOf = (...minutes) => minutes.map((minute) => ({ message: wireMessage(minute) }));

/** Runs all pending microtasks. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));
