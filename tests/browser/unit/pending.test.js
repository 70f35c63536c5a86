// Receipts and reactions: sent again until the server confirms them.

import assert from "node:assert/strict";
import test from "node:test";
import { Reactions, Receipts } from "../../../web/pending.js";
import { CHAT, idAt } from "./fakes.js";

const reaction = { chat_id: CHAT, message_id: idAt(1), user_id: "11", emoji: "👍", set: true };

test("receipts of a chat are sent as one, and reading implies delivery", () => {
  const receipts = new Receipts();
  receipts.mark({ chat_id: CHAT, delivered_up_to: idAt(1) });
  receipts.mark({ chat_id: CHAT, read_up_to: idAt(2) });
  assert.deepEqual(receipts.frames(), [{ receipt: { chat_id: CHAT, delivered_up_to: idAt(2), read_up_to: idAt(2) } }]);
});

test("a receipt is sent again until the server confirms it", () => {
  const receipts = new Receipts();
  receipts.mark({ chat_id: CHAT, read_up_to: idAt(2) });
  receipts.confirm({ chat_id: CHAT, read_up_to: idAt(1), delivered_up_to: idAt(1) });
  assert.equal(receipts.frames().length, 1);
  receipts.confirm({ chat_id: CHAT, read_up_to: idAt(2), delivered_up_to: idAt(2) });
  assert.deepEqual(receipts.frames(), []);
});

test("a reaction is sent once in a session, again in the next, and no more once it is confirmed", () => {
  const reactions = new Reactions();
  const sent = [];
  const send = (frame) => sent.push(frame);
  reactions.add(reaction);
  reactions.flush(send);
  reactions.flush(send);
  assert.deepEqual(sent, [{ react: { chat_id: CHAT, message_id: idAt(1), emoji: "👍" } }]);
  reactions.sessionLost();
  reactions.flush(send);
  reactions.confirm(reaction);
  reactions.sessionLost();
  reactions.flush(send);
  assert.equal(sent.length, 2);
});

test("a refused reaction is undone; another frame's refusal undoes nothing", () => {
  const reactions = new Reactions();
  reactions.add({ ...reaction, set: false });
  reactions.flush(() => 7);
  assert.equal(reactions.revert(6), null);
  assert.equal(reactions.revert(7).set, true);
  assert.equal(reactions.revert(7), null);
});
