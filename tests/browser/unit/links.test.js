// The links of admins and of groups in the page's address.

import assert from "node:assert/strict";
import test from "node:test";
import { displayName, userName } from "../../../web/format.js";
import { linkIn, placeIn } from "../../../web/links.js";

test("an address with a link has its kind and its token, any other address has none", () => {
  assert.deepEqual(linkIn("#invite=a1b2.x-Y_z"), { kind: "invite", token: "a1b2.x-Y_z" });
  assert.deepEqual(linkIn("#reset=12.secret"), { kind: "reset", token: "12.secret" });
  assert.deepEqual(linkIn("#join/5.x-Y_z"), { kind: "join", token: "5.x-Y_z" });
  for (const hash of ["", "#", "#invite=", "#invite", "#join/", "#join", "#join/a/b", "#d-1-2", "#other=1", "#users/5?part=invite=1"])
    assert.deepEqual(linkIn(hash), { kind: "", token: "" }, hash);
});

test("an address has its chat, and the message to which it leads", () => {
  const place = (hash) => Object.values(placeIn(hash));
  assert.deepEqual(place("#d-7-11"), ["d-7-11", ""]);
  assert.deepEqual(place("#d-7-11/9223372036854775807"), ["d-7-11", "9223372036854775807"]);
  for (const hash of ["", "#", "#%", "#%/5", "#/5"]) assert.equal(placeIn(hash).chat_id, "", hash);
  for (const hash of ["#d-7-11/0", "#d-7-11/x", "#d-7-11/5/6"]) assert.equal(placeIn(hash).message_id, "", hash);
});

test("a deleted account has a name to show and no user name", () => {
  assert.equal(displayName({ name: "", display_name: "", deleted: true }), "Deleted account");
  assert.equal(userName({ name: "" }), "");
  assert.equal(userName({ name: "ada" }), "@ada");
});
