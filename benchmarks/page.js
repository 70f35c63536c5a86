// A server inside the browser for `benchmarks/page.py`: it answers the page's requests and holds its session, so that
// only the page is measured. `bench` delivers messages and measures.

const ME = "11";
const OTHER = "7";
const CHANNEL = "g-5";
/** Users who send to the channel in turn. */
const SENDERS = 30;
const WORDS = "the lag graph again and one more word for a line that wraps sometimes ".repeat(3);

const idOf = (number) => String(BigInt(number + 1) * 10_000n * 4_194_304n);
const numberOf = (id) => Number(BigInt(id) / 41_943_040_000n) - 1;

const bench = { chat: "d-7-11", count: 0, socket: null, sequence: 0 };

function senderOf(number) {
  if (bench.chat === CHANNEL) return String(20 + (number % SENDERS));
  return number % 3 ? OTHER : ME;
}

function message(number) {
  const body = `Message ${number}: ${WORDS.slice(0, 12 + ((number * 37) % 160))}`;
  const ids = { message_id: idOf(number), chat_id: bench.chat, sender_id: senderOf(number), client_message_id: `c${number}` };
  return { ...ids, text: { body } };
}

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

/** The chat as a list of chats has it. */
function chat() {
  const marks = [{ user_id: ME, read_up_to: idOf(bench.count - 1) }];
  const both = { chat_id: bench.chat, newest: { message: message(bench.count - 1) }, unread: 0, marks };
  if (bench.chat !== CHANNEL) return { ...both, member_ids: [OTHER, ME] };
  const own = { user_id: ME, role: "ROLE_MEMBER", spans: [{ first: "1" }] };
  return { ...both, version: "1", settings: { name: "News", is_channel: true, permissions: "31" }, member_count: 5_000, own };
}

function answer({ pathname, searchParams }) {
  if (pathname === "/v1/me") return { ...profile(ME), version: 1, created_at_ms: "0" };
  if (pathname === "/v1/me/gateway") return { websocket: "ws://bench/session" };
  if (pathname === "/v1/profiles") return { profiles: searchParams.get("user_ids").split(",").map(profile) };
  if (pathname.endsWith("/messages")) return history(searchParams);
  if (pathname.endsWith("/changes")) return { changes: [] };
  return pathname === "/v1/chats" ? { chats: [chat()] } : chat();
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
  const sender_id = bench.chat === CHANNEL ? senderOf(number) : OTHER;
  bench.deliver({ event: { event_id: idOf(number), message: { ...message(number), sender_id } } });
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

/** Notes the time of each painted frame, until the returned function ends it and returns the times. */
function frames() {
  const times = [];
  let request = requestAnimationFrame(function drawn(at) {
    times.push(at);
    request = requestAnimationFrame(drawn);
  });
  return () => (cancelAnimationFrame(request), times);
}

/**
 * Messages at a rate for some seconds; returns the longest time from arrival to being on the page, and the longest
 * interval between two painted frames, in milliseconds.
 */
bench.burst = async (perSecond, seconds) => {
  const end = frames();
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
  const longest = Math.max(...end().map((at, place, times) => at - (times[place - 1] ?? at)));
  return [worst, longest];
};

/** A picture with many colours, as a file. */
bench.picture = async (width, height, type) => {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  for (let place = 0; place < 2_000; place++) {
    context.fillStyle = `hsl(${(place * 47) % 360} 60% 50%)`;
    context.fillRect((place * 7919) % width, (place * 104_729) % height, width / 9, height / 9);
  }
  bench.pasted = new File([await canvas.convertToBlob({ type })], "pasted", { type });
};

/**
 * Pastes the picture, waits until its preview is painted, and removes it; returns the painted frames from the paste up to
 * the one with the preview, and the milliseconds.
 */
bench.preview = async () => {
  const clipboardData = new DataTransfer();
  clipboardData.items.add(bench.pasted);
  const marking = new MutationObserver(() => document.querySelector(".attached img")?.setAttribute("elementtiming", "preview"));
  marking.observe(document, { childList: true, subtree: true });
  const painted = new Promise((resolve) => {
    new PerformanceObserver((list, observer) => {
      observer.disconnect();
      resolve(list.getEntries()[0].renderTime);
    }).observe({ type: "element" });
  });
  await bench.frame();
  const end = frames();
  const begin = performance.now();
  const paste = new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData });
  document.querySelector("textarea").dispatchEvent(paste);
  const at = await painted;
  marking.disconnect();
  document.querySelector(".attached button").click();
  await bench.idle(2);
  return [end().filter((time) => time > begin && time <= at).length, at - begin];
};

globalThis.bench = bench;
