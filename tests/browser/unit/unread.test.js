// The counts of unread messages and mentions, whatever the order in which events arrive and are recorded: compared with a
// count of all events. Random, and the same in each run. Time is mocked.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { compareIds } from "../../../web/ids.js";
import { ADA, changeAt, CHAT, FakeHistory, idAt, markAt, MIRA, sentAt } from "./fakes.js";
import { online, pass, timeOf } from "./online.js";

const RUNS = 30;
/** Events of a run, one each minute after the first message of the chat. */
const EVENTS = 30;
/** The longest delays of an event until it arrives and until it is recorded, in steps. Events are recorded in order. */
const LATE = 3;
const RECORDED_LATE = 8;

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

/** A random event of a minute: a message, or a change to an earlier one. */
function eventOf(random, minute, sent) {
  const dice = random(10);
  if (dice < 4 || !sent.length) {
    const event = sentAt(minute, { sender_id: random(5) ? MIRA : ADA });
    if (event.message.sender_id === MIRA) sent.push(minute);
    return { ...event, message: { ...event.message, text: text(random(2)) } };
  }
  const target = sent[random(sent.length)];
  if (dice < 7) return changeAt(minute, target, { edited: { text: text(random(2)) } }, MIRA);
  if (dice < 9) return changeAt(minute, target, { deleted: {} }, MIRA);
  return markAt(minute, ADA, { read_up_to: idAt(target) });
}

/** The read mark and the counts of a user who has these events. */
function countOf(events) {
  const marks = events.flatMap(({ change }) => change?.marked?.read_up_to ?? []);
  const mark = [idAt(1), ...marks].sort(compareIds).at(-1);
  const changesOf = (id, kind) => events.filter(({ change }) => change?.target_id === id && change[kind]);
  const unread = events.filter(({ event_id, message }) =>
    message?.sender_id === MIRA && compareIds(event_id, mark) > 0 && !changesOf(event_id, "deleted").length);
  const textOf = ({ event_id, message }) => {
    const edits = changesOf(event_id, "edited").sort((a, b) => compareIds(a.event_id, b.event_id));
    return edits.at(-1)?.change.edited.text ?? message.text;
  };
  const mentions = unread.filter((event) => textOf(event).mentions.length);
  return { mark, unread: unread.length, unread_mentions: mentions.length };
}

/** A page while events arrive late, in any order or not at all, and history lags behind; returns the counts at the end. */
async function run(seed) {
  const random = randomFrom(seed);
  const history = new FakeHistory();
  const { chats, socket } = await online({ history, minute: 1 });
  if (random(2)) chats.open("");
  const sent = [];
  let last = 0;
  const all = Array.from({ length: EVENTS }, (_, at) => {
    const isLost = !random(12);
    const event = eventOf(random, at + 2, sent);
    last = Math.max(last, at + random(RECORDED_LATE));
    return { event, isLost, arrives: at + random(LATE), recorded: last };
  });
  const recorded = [];
  for (let step = 0; step < EVENTS + RECORDED_LATE; step++) {
    for (const each of all.filter(({ recorded: at }) => at === step)) {
      history.record(each.event);
      recorded.push(each.event);
    }
    const { mark, ...counts } = countOf(recorded);
    history.marks = [{ user_id: ADA, read_up_to: mark }];
    history.about.set(CHAT, counts);
    history.complete = all.findIndex(({ recorded: at }) => at > step) + 1 || EVENTS + 9;
    for (const { event, isLost } of all.filter(({ arrives }) => arrives === step))
      socket.deliver(isLost ? { gap: { at_ms: String(timeOf(step + 2)) } } : { event });
    await pass(random(8));
  }
  for (let left = 0; left < 4; left++) await pass(30);
  const { mark, ...expected } = countOf(all.map(({ event }) => event));
  const { unread, unread_mentions } = chats.of(CHAT);
  return { shown: { unread, unread_mentions }, expected };
}

test("the counts are those of all events, once history has them", async () => {
  for (let seed = 1; seed <= RUNS; seed++) {
    const { shown, expected } = await run(seed);
    assert.deepEqual(shown, expected, `seed ${seed}`);
  }
});
