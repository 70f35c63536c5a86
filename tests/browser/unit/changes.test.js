// Changes: they fold into one state in any order and with any repetitions, and the texts and reactions on the page derive from it.

import assert from "node:assert/strict";
import test from "node:test";
import { fold, UNCHANGED } from "../../../web/changes.js";
import { KINDS } from "../../../web/kinds.js";
import { isDeleted } from "../../../web/kinds/deleted.js";
import { editedAt, mentionsOf, textOf } from "../../../web/kinds/edited.js";
import { hasReacted, reactionsOf } from "../../../web/kinds/reacted.js";
import { fromHistory, shownText, withChanges } from "../../../web/messages.js";
import { ADA, changeAt, idAt, MIRA, wireMessage } from "./fakes.js";

/** Numbers from 0 to 1 that are the same in every run (mulberry32). */
function randoms(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const shuffled = (values, random) =>
  values.map((value) => [random(), value]).sort(([a], [b]) => a - b).map(([, value]) => value);

/** Up to 8 changes to one target, with different event ids of one to three digits. */
function someChanges(random) {
  const one = (...values) => values[Math.floor(random() * values.length)];
  const id = () => String(Math.floor(random() * 120));
  const bodies = [
    () => ({ reacted: { emoji: one("👍", "🎉"), set: one(true, false) } }),
    () => ({ marked: { delivered_up_to: id(), read_up_to: id() } }),
    () => ({ marked: { read_up_to: id() } }),
    () => ({ edited: { text: { body: one("a", "b") } } }),
    () => (random() < 0.3 ? { deleted: {} } : { reacted: { emoji: "👍", set: true } }),
    () => ({ hidden: { set: one(true, false) } }),
    () => ({ ofNewerVersion: {} }),
  ];
  const event_ids = new Set(Array.from({ length: Math.floor(random() * 9) }, id));
  return [...event_ids].map((event_id) => ({ event_id, change: { actor_id: one(ADA, MIRA), ...one(...bodies)() } }));
}

test("any order and any repetition of changes give one state, and a change without effect gives the same object", () => {
  for (let seed = 0; seed < 2_000; seed++) {
    const random = randoms(seed);
    const changes = someChanges(random);
    const expected = fold(UNCHANGED, changes);
    const again = fold(UNCHANGED, shuffled([...changes, ...changes.slice(0, 4)], random));
    assert.deepEqual(again, expected, `seed ${seed}`);
    for (const event of changes) assert.equal(fold(again, [event]), again, `seed ${seed}`);
  }
});

test("the laws are those of the protos: the newest, the highest values, the first that wins", () => {
  assert.deepEqual(["edited", "marked", "deleted"].map((name) => KINDS[name].law), ["LAST", "MAX", "WINS"]);
  const mark = (event_id, delivered_up_to, read_up_to) => ({ event_id, change: { marked: { delivered_up_to, read_up_to } } });
  const [marked] = fold(UNCHANGED, [mark("9", "5", "30"), mark("10", "40", "4")]).values();
  assert.deepEqual(marked, mark("10", "40", "30"));
  const deletions = ["10", "9", "11"].map((event_id) => ({ event_id, change: { deleted: {} } }));
  const edit = { event_id: "8", change: { edited: { text: { body: "x" } } } };
  assert.deepEqual([...fold(UNCHANGED, [...deletions, edit]).values()], [deletions[1]]);
  const hiding = { event_id: "8", change: { actor_id: ADA, hidden: { set: true } } };
  assert.deepEqual([...fold(UNCHANGED, [hiding, ...deletions, edit]).values()], [hiding, deletions[1]], "it outlives them");
});

test("reactions are shown in the order in which they were set, without removed ones", () => {
  const reacted = (minutes, actor_id, emoji, set = true) => changeAt(minutes, 1, { reacted: { emoji, set } }, actor_id);
  const changes = [reacted(5, ADA, "👍"), reacted(3, MIRA, "👍"), reacted(4, MIRA, "🔥"), reacted(2, ADA, "👀")];
  const message = fromHistory({ message: wireMessage(1), changes: [...changes, reacted(9, ADA, "👀", false)] });
  assert.deepEqual(reactionsOf(message), [
    { emoji: "👍", user_ids: [MIRA, ADA] },
    { emoji: "🔥", user_ids: [MIRA] },
  ]);
  assert.deepEqual([hasReacted(message, ADA, "👍"), hasReacted(message, ADA, "👀")], [true, false]);
});

test("the newest edit is shown with its time, and a deletion removes the content and the reactions", () => {
  const wire = { ...wireMessage(1), reply_to: "5", forwarded: true };
  const message = fromHistory({ message: { ...wire, text: { ...wire.text, mentions: [{ user_id: ADA, name: "x" }] } } });
  const edits = [4, 3].map((minutes) => changeAt(minutes, 1, { edited: { text: { body: `edit ${minutes}` } } }, MIRA));
  const edited = withChanges(message, edits);
  assert.deepEqual([textOf(edited), editedAt(edited)], ["edit 4", Date.UTC(2026, 0, 1, 0, 4)]);
  assert.deepEqual([textOf(message), editedAt(message)], ["text 1", 0]);
  const deleted = withChanges(edited, [changeAt(2, 1, { deleted: {} }, MIRA)]);
  assert.deepEqual([mentionsOf(message), mentionsOf(edited)], [[{ user_id: ADA, name: "x" }], []]);
  const { body, reply_to, forwarded } = deleted;
  assert.deepEqual([isDeleted(deleted), body, reply_to, forwarded, mentionsOf(deleted)], [true, "", "", false, []]);
  assert.equal(shownText(deleted), "This message was deleted");
  assert.equal(deleted.changes.size, 1);
});

test("a content that only a newer version knows is named so, also in an edit", () => {
  const { text, ...unknown } = wireMessage(1);
  const edited = withChanges(fromHistory({ message: wireMessage(1) }), [changeAt(2, 1, { edited: {} }, MIRA)]);
  for (const message of [fromHistory({ message: unknown }), edited])
    assert.equal(shownText(message), "This message needs a newer version of the page.");
});
