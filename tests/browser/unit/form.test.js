// The rule for new passwords, which the sign-up, the reset and the settings share.

import assert from "node:assert/strict";
import test from "node:test";
import { newPasswordProblem, newPasswordRule } from "../../../web/components/form.js";

test("a new password has at least 10 characters, as its hint says", () => {
  assert.deepEqual(["123456789", "1234567890"].map(newPasswordProblem), [newPasswordRule(), ""]);
  assert.match(newPasswordRule(), /10/);
});
