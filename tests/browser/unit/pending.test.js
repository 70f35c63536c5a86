// Changes and marks that are not accepted yet: shown at once, kept, and sent again.

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { textOf } from "../../../web/kinds/edited.js";
import { isHidden } from "../../../web/kinds/hidden.js";
import { reactionsOf } from "../../../web/kinds/reacted.js";
import { fromHistory } from "../../../web/messages.js";
import { Changes, WaitingMarks } from "../../../web/pending.js";
import { Kept } from "../../../web/stores/kept.js";
import { ADA, CHAT, changeAt, fakeChannels, fakeDatabase, idAt, wireMessage } from "./fakes.js";

const reacted = (target, emoji, set) => changeAt(0, target, { reacted: { emoji, set } }).change;
const edited = (target, body) => changeAt(0, target, { edited: { text: { body } } }).change;
const message = fromHistory({ message: wireMessage(1), changes: [changeAt(5, 1, { reacted: { emoji: "👍", set: true } })] });
const opened = async (database) => new Changes(await Kept.open(async () => database));
const bodiesDue = (changes) => changes.due(1_000).due.map(({ change }) => change.reacted?.set ?? change.edited?.text.body);

test("a waiting change is shown over the state, whatever the clock of this browser, and leaves no trace", async () => {
  const changes = await opened(fakeDatabase());
  assert.equal(changes.over(message), message);
  changes.add(reacted(1, "👍", false), 0);
  assert.deepEqual(reactionsOf(changes.over(message)), []);
  assert.equal(changes.over(message).isChanging, false);
  changes.add(edited(1, "better"), 0);
  assert.deepEqual([textOf(changes.over(message)), changes.over(message).isChanging], ["better", true]);
  for (const { client_id } of changes.all) changes.remove(client_id);
  assert.equal(changes.over(message), message);
});

test("a message that the user hides is hidden at once, without a sign of waiting, and shown again when it is undone", async () => {
  const changes = await opened(fakeDatabase());
  const states = [true, false].map((set) => {
    changes.add(changeAt(0, 1, { hidden: { set } }).change, 0);
    const shown = changes.over(message);
    return [isHidden(shown), shown.isChanging, changes.size];
  });
  assert.deepEqual(states, [[true, false, 1], [false, false, 1]]);
});

test("changes of a chat are sent in order, one at a time, with one id, also after a reload", async () => {
  const database = fakeDatabase();
  const changes = await opened(database);
  changes.add(reacted(1, "👍", true), 1);
  changes.add(edited(1, "one"), 2);
  const [first, second] = changes.all;
  assert.deepEqual(bodiesDue(changes), [true]);
  changes.sent(first.client_id, 1_000);
  assert.deepEqual(bodiesDue(changes), []);
  changes.sessionLost();
  assert.deepEqual(bodiesDue(changes), [true]);
  const again = await opened(database);
  assert.deepEqual(again.all.map(({ client_id }) => client_id), [first.client_id, second.client_id]);
  assert.equal(again.firstSentMsAgo(first.client_id, 3_000), 2_000);
});

test("a change replaces a change with the same key that was not sent yet, and no other", async () => {
  const changes = await opened(fakeDatabase());
  changes.add(reacted(1, "👍", true), 1);
  changes.sent(changes.all[0].client_id, 1);
  for (const set of [false, true, false]) changes.add(reacted(1, "👍", set), 2);
  for (const target of [1, 2]) changes.add(edited(target, `text ${target}`), 3);
  assert.deepEqual(
    changes.all.map(({ change }) => change.reacted?.set ?? change.edited.text.body),
    [true, false, "text 1", "text 2"],
  );
});

test("a change is shown in all tabs while it waits, and one that takes its place there, too", async (context) => {
  mock.timers.enable({ apis: ["setInterval"] });
  context.after(() => mock.timers.reset());
  const database = fakeDatabase();
  const [here, there] = [await opened(database), await opened(database)];
  for (const [at, end] of fakeChannels().ends.entries()) [here, there][at].share(end, new AbortController().signal);
  here.add(edited(1, "better"), 1);
  assert.equal(textOf(there.over(message)), "better");
  there.add(edited(1, "best"), 2);
  assert.deepEqual([here, there].map((tab) => [textOf(tab.over(message)), tab.size]), Array(2).fill(["best", 1]));
  here.remove(here.all[0].client_id);
  assert.equal(there.over(message), message);
});

/** Marks with the frames that they sent, and a function that answers the newest one. */
function newMarks(areApart = false) {
  const marks = new WaitingMarks(() => areApart);
  const sent = [];
  const answers = [];
  const send = ({ change }, answered) => (sent.push(change.marked), answers.push(answered), true);
  return { marks, sent, flush: () => marks.flush(send), answer: (frame) => answers.at(-1)(frame) };
}

test("marks of a chat are sent as one, reading implies delivery, and they are sent again until they are accepted", () => {
  const { marks, sent, flush, answer } = newMarks();
  marks.add(CHAT, { delivered_up_to: idAt(1) });
  marks.add(CHAT, { read_up_to: idAt(2) });
  for (let time = 0; time < 2; time++) flush();
  marks.sessionLost();
  flush();
  assert.deepEqual(sent, Array(2).fill({ delivered_up_to: idAt(2), read_up_to: idAt(2) }));
  answer({ accepted: {} });
  marks.sessionLost();
  flush();
  assert.equal(sent.length, 2);
});

test("a user who hides how far they have read sends the two marks of a chat one by one", () => {
  const { marks, sent, flush, answer } = newMarks(true);
  marks.add(CHAT, { delivered_up_to: idAt(1) });
  marks.add(CHAT, { read_up_to: idAt(1) });
  flush();
  answer({ accepted: {} });
  marks.add(CHAT, { read_up_to: idAt(2) });
  flush();
  assert.deepEqual(sent.map((each) => [each.delivered_up_to, each.read_up_to]), [[idAt(1), "0"], ["0", idAt(1)], ["0", idAt(2)]]);
});

test("marks that moved while an answer was under way are sent too, and refused ones after a pause if they may be", (context) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  context.after(() => mock.timers.reset());
  const { marks, sent, flush, answer } = newMarks();
  marks.add(CHAT, { read_up_to: idAt(1) });
  flush();
  marks.add(CHAT, { read_up_to: idAt(2) });
  answer({ accepted: {} });
  flush();
  assert.deepEqual(sent.map(({ read_up_to }) => read_up_to), [idAt(1), idAt(2)]);
  answer({ refused: { retryable: true, retry_after_ms: 7_000 } });
  mock.timers.tick(6_999);
  assert.equal(sent.length, 2);
  mock.timers.tick(1);
  answer({ refused: { code: "forbidden" } });
  flush();
  assert.equal(sent.length, 3);
});
