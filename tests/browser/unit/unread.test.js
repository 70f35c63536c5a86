// The counts of unread messages and mentions, and the mark of the chat as unread, in any order in which events arrive, arrive
// again and are recorded, and after reloads of the page: compared with a count of all events. Random, and the same in
// each run. Time is mocked.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { compareIds } from "../../../web/ids.js";
import { isMarkedUnread } from "../../../web/kinds/marked-unread.js";
import { ADA, changeAt, CHAT, fakeCopies, FakeHistory, idAt, markAt, MIRA, sentAt } from "./fakes.js";
import { online, pass, timeOf } from "./online.js";

const RUNS = 40;
/** Events of a run, one each minute after the first message of the chat. */
const EVENTS = 30;
/** The longest delays of an event until it arrives and until it is recorded, in steps. Events are recorded in order. */
const LATE = 3;
const RECORDED_LATE = 8;
/** The longest time from the arrival of an event to its repetition, in steps. */
const REPEATED_LATE = 9;
/** One step in this many ends with a reload of the page. */
const RELOADS = 20;

beforeEach(() => mock.timers.enable({ apis: ["setTimeout", "Date"] }));
afterEach(() => {
  mock.timers.reset();
  delete globalThis.WebSocket;
});

/** Random integers below a bound, from a seed. */
function randomFrom(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const text = (isMention) => ({ body: "@ada", mentions: isMention ? [{ user_id: ADA, name: "ada" }] : [] });

/** A random event of a minute: a message, a change to an earlier one, or a mark of the user in the chat. */
function eventOf(random, minute, sent) {
  const dice = random(14);
  if (dice < 5 || !sent.length) {
    const event = sentAt(minute, { sender_id: random(5) ? MIRA : ADA });
    if (event.message.sender_id === MIRA) sent.push(minute);
    return { ...event, message: { ...event.message, text: text(random(2)) } };
  }
  const target = sent[random(sent.length)];
  if (dice < 8) return changeAt(minute, target, { edited: { text: text(random(2)) } }, MIRA);
  if (dice < 10) return changeAt(minute, target, { deleted: {} }, MIRA);
  if (dice < 12) return changeAt(minute, target, { hidden: { set: random(3) > 0 } });
  if (dice < 13) return changeAt(minute, 0, { marked_unread: { set: random(2) > 0 } });
  return markAt(minute, ADA, { read_up_to: idAt(target) });
}

/** What a user who has these events has read, the counts, and the newest mark of the whole chat as unread. */
function countOf(events) {
  const inOrder = [...events].sort((a, b) => compareIds(a.event_id, b.event_id));
  const marks = events.flatMap(({ change }) => change?.marked?.read_up_to ?? []);
  const mark = [idAt(1), ...marks].sort(compareIds).at(-1);
  const newestOf = (id, kind) => inOrder.findLast(({ change }) => change?.target_id === id && change[kind]);
  const unread = events.filter(({ event_id, message }) =>
    message?.sender_id === MIRA && compareIds(event_id, mark) > 0 && !newestOf(event_id, "deleted"));
  const mentions = unread.filter(({ event_id, message }) => (newestOf(event_id, "edited")?.change.edited.text ?? message.text).mentions.length);
  const marked = newestOf("0", "marked_unread");
  return { mark, marked, counts: { unread: unread.length, unread_mentions: mentions.length } };
}

/**
 * A page while events arrive late, in any order, twice or not at all, and history lags behind; some pages are reloaded, with
 * the copies that the browser has kept. Returns the counts at the end.
 */
async function run(seed) {
  const random = randomFrom(seed);
  const history = new FakeHistory();
  let copies = fakeCopies();
  let client = await online({ history, copies, minute: 1 });
  const isClosed = random(2);
  if (isClosed) client.chats.open("");
  const sent = [];
  let last = 0;
  const all = Array.from({ length: EVENTS }, (_, at) => {
    const isLost = !random(12);
    const event = eventOf(random, at + 2, sent);
    last = Math.max(last, at + random(RECORDED_LATE));
    const arrives = at + random(LATE);
    return { event, isLost, arrives, recorded: last, repeated: random(5) ? -1 : arrives + 1 + random(REPEATED_LATE) };
  });
  const recorded = [];
  for (let step = 0; step < EVENTS + RECORDED_LATE; step++) {
    for (const each of all.filter(({ recorded: at }) => at === step)) {
      history.record(each.event);
      recorded.push(each.event);
    }
    const { mark, marked, counts } = countOf(recorded);
    history.marks = [{ user_id: ADA, read_up_to: mark }];
    history.about.set(CHAT, { ...counts, changes: marked ? [marked] : [] });
    history.complete = all.findIndex(({ recorded: at }) => at > step) + 1 || EVENTS + 9;
    for (const { event, isLost } of all.filter(({ arrives }) => arrives === step))
      client.socket.deliver(isLost ? { gap: { at_ms: String(timeOf(step + 2)) } } : { event });
    for (const { event, isLost } of all.filter(({ repeated }) => repeated === step)) if (!isLost) client.socket.deliver({ event });
    if (!random(RELOADS)) {
      if (random(2)) await client.recent.save(); // else the browser has killed the page
      client.sync.session.end();
      copies = fakeCopies(structuredClone(copies.rows));
      client = await online({ history, copies, minute: step + 2, isReloaded: true });
      if (isClosed) client.chats.open("");
    }
    await pass(random(8));
  }
  for (let left = 0; left < 4; left++) await pass(30);
  const { marked, counts } = countOf(all.map(({ event }) => event));
  const chat = client.chats.of(CHAT);
  const { unread, unread_mentions } = chat;
  return {
    shown: { unread, unread_mentions, isMarked: isMarkedUnread(chat, ADA) },
    expected: { ...counts, isMarked: marked?.change.marked_unread.set ?? false },
  };
}

test("the counts are those of all events, once history has them", async () => {
  for (let seed = 1; seed <= RUNS; seed++) {
    const { shown, expected } = await run(seed);
    assert.deepEqual(shown, expected, `seed ${seed}`);
  }
});
