// Formats of times, names and texts.

import assert from "node:assert/strict";
import test from "node:test";
import {
  AVATAR_COLOURS,
  avatarColour,
  dayLabel,
  daysBetween,
  displayName,
  hasMoved,
  initials,
  isOnlyEmoji,
  shortTime,
  timeOfDay,
  unreadLabel,
} from "../../../web/format.js";

const noon = new Date(2026, 10, 24, 12).getTime();
const DAY_MS = 24 * 60 * 60 * 1000;

test("days change at midnight, not after 24 hours", () => {
  assert.equal(daysBetween(new Date(2026, 10, 23, 23, 59).getTime(), new Date(2026, 10, 24, 0, 1).getTime()), 1);
  assert.equal(dayLabel(noon - DAY_MS, noon), "Yesterday");
  assert.equal(dayLabel(noon, noon), "Today");
  assert.match(dayLabel(noon - 400 * DAY_MS, noon), /2025/);
});

test("a list shows a time today, a weekday this week, and then a date", () => {
  assert.match(shortTime(noon, noon), /12[:.]00/);
  assert.match(shortTime(noon - 3 * DAY_MS, noon), /^\p{L}+\.?$/u);
  assert.match(shortTime(noon - 12 * DAY_MS, noon), /12/);
});

test("times are those of the present time zone, also after a journey", (context) => {
  const home = process.env.TZ;
  context.after(() => {
    process.env.TZ = home ?? "";
    if (home === undefined) delete process.env.TZ;
    hasMoved();
  });
  process.env.TZ = "Europe/Lisbon";
  hasMoved();
  const noonUtc = Date.UTC(2026, 10, 24, 12);
  assert.match(timeOfDay(noonUtc), /^12:00/);
  assert.equal(hasMoved(), false);
  process.env.TZ = "Asia/Tokyo";
  assert.equal(hasMoved(), true);
  assert.match(timeOfDay(noonUtc), /^0?9:00\sPM$/u);
});

test("initials come from the first and the last word, in any script", () => {
  assert.equal(initials("Ana-Sofia Ribeiro"), "AR");
  assert.equal(initials("Łukasz"), "Ł");
  assert.equal(initials("山田 太郎"), "山太");
  assert.equal(initials("🦜"), "?");
  assert.equal(initials("हिन्दी"), "ह");
  assert.equal(initials("हिन्दी भाषा"), "हभ");
  assert.equal(initials("Zoë Ümit".normalize("NFD")), "ZÜ");
});

test("a user has one colour of the palette, and users with close ids have different ones", () => {
  const joined = Array.from({ length: 800 }, (_, at) => String((118_694_661_907n + BigInt(at * 1_700)) << 20n));
  const counts = Array.from(
    { length: AVATAR_COLOURS },
    (_, at) => joined.filter((id) => avatarColour(id) === at + 1).length,
  );
  assert.ok(
    counts.every((count) => count > 50),
    String(counts),
  );
  assert.equal(
    counts.reduce((sum, count) => sum + count),
    joined.length,
  );
  assert.equal(avatarColour("5"), avatarColour("5"));
});

test("a few emoji alone are shown large, words and digits are not", () => {
  assert.ok(isOnlyEmoji("🎉"));
  assert.ok(isOnlyEmoji("👩‍🚀👍🏽"));
  for (const text of ["1", "ok 👍", "🎉🎉🎉🎉", "", "#"]) assert.equal(isOnlyEmoji(text), false, text);
});

test("an unread count ends at 99", () => {
  assert.equal(unreadLabel(99), "99");
  assert.equal(unreadLabel(100), "99+");
});

test("a display name has no controls of direction; a name of nothing else is the user name", () => {
  assert.equal(displayName({ display_name: "\u202eecalevol adA\u2069", name: "x" }), "ecalevol adA");
  assert.equal(displayName({ display_name: "سلمى", name: "x" }), "سلمى");
  assert.equal(displayName({ display_name: "\u202e", name: "mira" }), "mira");
});
