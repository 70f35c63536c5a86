// A server inside the browser for `benchmarks/page.py`: it answers the page's requests and holds its session, so that
// only the page is measured. `bench` delivers messages and measures.

const ME = "11";
const OTHER = "7";
const CHAT = "d-7-11";
const WORDS = "the lag graph again and one more word for a line that wraps sometimes ".repeat(3);

const idOf = (number) => String(BigInt(number + 1) * 10_000n * 4_194_304n);
const numberOf = (id) => Number(BigInt(id) / 41_943_040_000n) - 1;

function message(number) {
  const sender_id = number % 3 ? OTHER : ME;
  const body = `Message ${number}: ${WORDS.slice(0, 12 + ((number * 37) % 160))}`;
  return { message_id: idOf(number), chat_id: CHAT, sender_id, client_message_id: `c${number}`, text: { body } };
}

const bench = { count: 0, socket: null, sequence: 0 };

/** A page of a hundred messages by its anchor. */
function history(query) {
  const at = (name) => numberOf(query.get(name));
  const end = query.has("before_id") ? at("before_id") : bench.count;
  const first = query.has("after_id") ? at("after_id") + 1 : end - 100;
  const [from, to] = [Math.max(first, 0), Math.min(Math.max(first + 100, 0), bench.count)];
  const messages = Array.from({ length: Math.max(to - from, 0) }, (_, place) => ({ message: message(from + place) }));
  return { messages, has_older: from > 0, has_newer: to < bench.count };
}

const profile = (user_id) => ({ user_id, name: `u${user_id}`, display_name: `User ${user_id}`, about: "" });

function answer({ pathname, searchParams }) {
  if (pathname === "/v1/me") return { ...profile(ME), version: 1, created_at_ms: "0" };
  if (pathname === "/v1/me/gateway") return { websocket: "ws://bench/session" };
  if (pathname === "/v1/profiles") return { profiles: searchParams.get("user_ids").split(",").map(profile) };
  if (pathname.endsWith("/messages")) return history(searchParams);
  const marks = [{ user_id: ME, read_up_to: idOf(bench.count - 1) }];
  return { chats: [{ chat_id: CHAT, member_ids: [OTHER, ME], newest: { message: message(bench.count - 1) }, unread: 0, marks }] };
}

globalThis.fetch = async (path) => new Response(JSON.stringify(answer(new URL(path, location.href))));

globalThis.WebSocket = class {
  constructor() {
    bench.socket = this;
    setTimeout(() => this.onopen());
  }

  #frames = 0;

  send(text) {
    const frame = String(++this.#frames);
    if ("authenticate" in JSON.parse(text)) bench.deliver({ welcome: { heartbeat_interval_ms: 1e9 } });
    else setTimeout(() => bench.deliver({ accepted: { frame } }));
  }

  close() {}
};

bench.deliver = (frame) =>
  bench.socket.onmessage({ data: JSON.stringify({ sequence: String(++bench.sequence), ...frame }) });
bench.arrive = () => {
  const number = bench.count++;
  bench.deliver({ event: { event_id: idOf(number), message: { ...message(number), sender_id: OTHER } } });
};
bench.frame = () => new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn)));
bench.newest = () => Number(/Message (\d+):/.exec([...document.querySelectorAll(".text")].at(-1)?.textContent)?.[1]);

/** Scrolls up to the first message, or for so many frames; returns the most messages and elements that were there. */
bench.scrollUp = async (frames) => {
  const scroller = document.querySelector(".messages");
  let [rows, elements] = [0, 0];
  for (; frames > 0 && !document.querySelector(".beginning"); frames--) {
    scroller.scrollTop = 0;
    await bench.frame();
    rows = Math.max(rows, document.querySelectorAll("rookery-message").length);
    elements = Math.max(elements, document.querySelectorAll("*").length);
  }
  return [rows, elements];
};

/** Frames in which nothing happens. */
bench.idle = async (times) => {
  for (let time = 0; time < times; time++) await bench.frame();
};

/** Messages that arrive one a frame. */
bench.arrivals = async (times) => {
  for (let time = 0; time < times; time++) {
    bench.arrive();
    await bench.frame();
  }
};

bench.keystrokes = async (times) => {
  const field = document.querySelector("textarea");
  for (let time = 0; time < times; time++) {
    field.value += "x";
    field.dispatchEvent(new Event("input", { bubbles: true }));
    await bench.frame();
  }
};

/** Messages at a rate for some seconds; returns the longest time from arrival to being on the page, in milliseconds. */
bench.burst = async (perSecond, seconds) => {
  const arrivedAt = new Map();
  const begin = performance.now();
  let [sent, worst] = [0, 0];
  while (sent < perSecond * seconds || arrivedAt.size) {
    const now = performance.now();
    for (; sent < Math.min(((now - begin) / 1000) * perSecond, perSecond * seconds); sent++) {
      arrivedAt.set(bench.count, begin + (sent / perSecond) * 1000);
      bench.arrive();
    }
    await bench.frame();
    const shown = bench.newest();
    for (const [number, at] of arrivedAt) {
      if (number > shown) break;
      arrivedAt.delete(number);
      worst = Math.max(worst, performance.now() - at);
    }
  }
  return worst;
};

globalThis.bench = bench;
