// Presence: the users that the session watches, and what is shown of them. Time is mocked.

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { seenText } from "../../../web/components/seen-text.js";
import { MAX_WATCHED, Presence } from "../../../web/presence.js";
import { ADA, MIRA } from "./fakes.js";

beforeEach(() => mock.timers.enable({ apis: ["setTimeout"] }));
afterEach(() => mock.timers.reset());

/** Presence in a session that records its frames, after the first frame. */
function inSession(parts = { list: [MIRA] }) {
  const [presence, sent] = [new Presence(ADA), []];
  for (const [part, user_ids] of Object.entries(parts)) presence.watch(part, user_ids);
  const send = ({ watch }, answered) => sent.push({ user_ids: watch.user_ids, answered }) > 0;
  presence.online(send);
  const take = (ms) => {
    mock.timers.tick(ms);
    return sent.splice(0).map(({ user_ids }) => user_ids.join(" "));
  };
  return { presence, sent, send, take };
}

test("the users on the screen are sent together, once they change, without the user of the page", () => {
  const { presence, take } = inSession({ list: [MIRA, ADA, ""] });
  assert.deepEqual(take(500), [MIRA]);
  presence.watch("list", ["8", MIRA]);
  presence.watch("chat", ["9"]);
  assert.deepEqual([take(499), take(1)], [[], [`9 8 ${MIRA}`]]);
  presence.watch("list", [MIRA, "8"]);
  presence.watch("list", [MIRA, "9", "8"]);
  assert.deepEqual(take(10_000), [], "the same ones");
  presence.watch("chat", []);
  presence.watch("list", []);
  assert.deepEqual(take(500), [""]);
});

test("of too many users, those of the part that appeared last are watched, and the first of the others", () => {
  const ids = (first, count) => Array.from({ length: count }, (_, at) => String(first + at));
  const { take } = inSession({ list: ids(1_000, 300), members: ids(5_000, 150) });
  const [frame] = take(500);
  assert.deepEqual(frame.split(" "), [...ids(5_000, 150), ...ids(1_000, MAX_WATCHED - 150)]);
});

test("a state is shown while its user is watched and the session lasts, which is asked for again in the next one", () => {
  const { presence, send, take } = inSession();
  take(500);
  let changes = 0;
  presence.subscribe(() => changes++);
  presence.show({ user_id: MIRA, is_online: true });
  presence.show({ user_id: "8", is_online: true });
  assert.deepEqual([presence.isOnline(MIRA), presence.of("8"), changes], [true, undefined, 1]);
  presence.show({ user_id: MIRA, last_seen_ms: "1700" });
  assert.deepEqual(presence.of(MIRA), { isOnline: false, lastSeen_ms: 1_700 });
  presence.offline();
  assert.deepEqual([presence.of(MIRA), changes], [undefined, 3]);
  presence.online(send);
  assert.deepEqual(take(0), [MIRA]);
  presence.show({ user_id: MIRA, is_online: true });
  presence.watch("list", ["8"]);
  assert.deepEqual(take(500), ["8"]);
  assert.equal(presence.of(MIRA), undefined, "not watched any more");
  presence.watchAgain();
  assert.deepEqual(take(500), ["8"]);
});

test("a refused list is sent again after its pause if that may help, unless the screen has changed meanwhile", () => {
  const { presence, sent, take } = inSession();
  const refuse = (refused) => sent.at(-1).answered({ refused });
  mock.timers.tick(500);
  refuse({ code: "rate_limited", retryable: true, retry_after_ms: 9_000 });
  assert.deepEqual([take(8_999), take(1)], [[MIRA], [MIRA]]);
  presence.watch("list", ["8"]);
  mock.timers.tick(500);
  refuse({ code: "invalid" });
  assert.deepEqual(take(60_000), ["8"]);
});

const NOW = new Date(2026, 2, 4, 12, 0).getTime();
const MINUTE = 60_000;
const LINES = [
  [undefined, ""],
  [{ isOnline: true, lastSeen_ms: 0 }, "online"],
  [{ isOnline: false, lastSeen_ms: 0 }, ""],
  [{ isOnline: false, lastSeen_ms: NOW + MINUTE }, "last seen just now"],
  [{ isOnline: false, lastSeen_ms: NOW - 59_000 }, "last seen just now"],
  [{ isOnline: false, lastSeen_ms: NOW - MINUTE }, "last seen 1 minute ago"],
  [{ isOnline: false, lastSeen_ms: NOW - 59 * MINUTE }, "last seen 59 minutes ago"],
  [{ isOnline: false, lastSeen_ms: NOW - 60 * MINUTE }, "last seen today at 11:00 AM"],
  [{ isOnline: false, lastSeen_ms: NOW - 720 * MINUTE - 1 }, "last seen yesterday at 11:59 PM"],
  [{ isOnline: false, lastSeen_ms: NOW - 48 * 60 * MINUTE }, "last seen on Monday"],
  [{ isOnline: false, lastSeen_ms: NOW - 30 * 24 * 60 * MINUTE }, "last seen on Feb 2"],
];

test("a user is online, or was so some time ago, or nothing is known", () => {
  for (const [seen, expected] of LINES) assert.equal(seenText(seen, NOW).replace(/\s/g, " "), expected);
});
