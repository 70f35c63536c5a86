// The creation of an account, or its new password, and the sign-in after it: lost answers of both.

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { NoResponse, Problem } from "../../../web/api.js";
import { FirstStep, Uncertain } from "../../../web/first-step.js";

const lost = () => Promise.reject(new NoResponse());
const refused = (status, code) => () => Promise.reject(new Problem(status, { code }));
const done = async () => ({ name: "ada" });
const taken = refused(409, "name_taken");

/** A first step whose sign-ins have these answers, one after the other. */
function stepWith(...answers) {
  const signIn = mock.fn(() => answers.shift()());
  return { step: new FirstStep(signIn), signedIn: () => signIn.mock.calls.map((call) => call.arguments) };
}

test("after a failed sign-in the same values sign in, and the step is not taken again", async () => {
  const { step, signedIn } = stepWith(lost, done);
  const take = mock.fn(done);
  await assert.rejects(step.run(take, "quiet-otter"), NoResponse);
  await step.run(take, "quiet-otter");
  assert.deepEqual([take.mock.callCount(), signedIn()], [1, [["ada", "quiet-otter"], ["ada", "quiet-otter"]]]);
});

test("if the answer of the step was lost, a refusal of its repetition is followed by the sign-in", async () => {
  const { step, signedIn } = stepWith(done);
  await assert.rejects(step.run(lost, "quiet-otter", "ada"), NoResponse);
  await step.run(taken, "quiet-otter", "ada");
  assert.deepEqual(signedIn(), [["ada", "quiet-otter"]]);
});

test("a step that was ended for a late request may be done", async () => {
  const { step, signedIn } = stepWith(done);
  await assert.rejects(step.run(refused(408, "incomplete"), "quiet-otter", "ada"), { code: "incomplete" });
  await step.run(taken, "quiet-otter", "ada");
  assert.deepEqual(signedIn(), [["ada", "quiet-otter"]]);
});

test("the account of another user, with the same name, is refused by its name", async () => {
  const { step, signedIn } = stepWith(refused(401, "unauthenticated"));
  await assert.rejects(step.run(taken, "quiet-otter", "ada"), { code: "name_taken" });
  assert.deepEqual(signedIn(), [], "nothing was lost");
  await assert.rejects(step.run(refused(503, "unavailable"), "quiet-otter", "ada"), { code: "unavailable" });
  await assert.rejects(step.run(taken, "quiet-otter", "ada"), { code: "name_taken" });
  assert.equal(signedIn().length, 1);
  await assert.rejects(step.run(taken, "another-otter", "ada"), { code: "name_taken" });
  assert.equal(signedIn().length, 1, "other values");
});

test("a link that may have been used by a try whose answer was lost is told from one that was used before", async () => {
  const { step } = stepWith();
  const used = refused(404, "not_found");
  await assert.rejects(step.run(used, "quiet-otter"), { code: "not_found" });
  await assert.rejects(step.run(lost, "quiet-otter"), NoResponse);
  await assert.rejects(step.run(refused(429, "rate_limited"), "quiet-otter"), { code: "rate_limited" });
  await assert.rejects(step.run(used, "quiet-otter"), Uncertain);
});
