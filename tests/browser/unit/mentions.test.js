// Mentions: the names that a text contains, the members that a typed name may mean, and the names that are shown.

import assert from "node:assert/strict";
import test from "node:test";

import { offerMembers } from "../../../web/components/member-source.js";
import { parse, plainText, withNames } from "../../../web/formatting.js";
import { LANGUAGES } from "../../../web/languages/language.js";
import { AT_EVERYONE, EVERYONE } from "../../../web/mentions.js";
import { matching, MAX_FOUND, mentionAtEnd } from "../../../web/mentioning.js";
import { fromHistory, shownPlain } from "../../../web/messages.js";
import { Profiles } from "../../../web/profiles.js";
import { textWith } from "../../../web/writing.js";
import { ADA, changeAt, MIRA, settle, wireMessage } from "./fakes.js";

const member = (user_id, name, display_name) => ({ user_id, name, display_name, about: "" });
const mira = member(MIRA, "mira", "Mira Okafor");
const ada = member(ADA, "ada", "Ada");
const MEMBERS = [mira, ada];
const AT_MIRA = { user_id: MIRA, name: "Mira Okafor" };

/** The mentions in a text, as user_id:name. */
const found = (body, members = MEMBERS, before = []) =>
  textWith(body, members, before).mentions.map(({ user_id, name }) => `${user_id}:${name}`);

test("a name after @ mentions its member: the display name or the user name, the longest; a member has one name", () => {
  const { body, mentions } = textWith("@Mira Okafor, `@Mira Okafor`, @mira", MEMBERS);
  assert.deepEqual([body, mentions], ["@mira, `@Mira Okafor`, @mira", [{ user_id: MIRA, name: "mira" }]]);
  assert.deepEqual(found("@Mira Okafor and @ada"), [`${MIRA}:Mira Okafor`, `${ADA}:ada`]);
  assert.deepEqual(found("**@Ada**: _@mira_!\n> - (@ada)"), [`${ADA}:Ada`, `${MIRA}:mira`]);
  const adam = member("12", "adam", "Ada Lindqvist");
  assert.deepEqual(found("@Ada Lindqvist", [ada, adam]), ["12:Ada Lindqvist"]);
  assert.deepEqual(found("@علي، مرحبا", [member("13", "ali", "علي")]), ["13:علي"]);
});

test("a word for all members mentions them where that is allowed, and is offered there after those who match", async () => {
  const text = "@everyone and @alle, @Mira Okafor";
  const { body, mentions, mentions_everyone } = textWith(text, MEMBERS, [], true);
  assert.deepEqual([body, mentions, mentions_everyone], [text, [AT_MIRA], true]);
  assert.equal(textWith("`@everyone` @everyones", MEMBERS, [], true).mentions_everyone, undefined);
  assert.equal(textWith(text, MEMBERS).mentions_everyone, undefined);
  const offered = (typed, isAllowed) => offerMembers(typed, [mira, member("3", "eve", "Eve")], isAllowed).choices.map(({ key }) => key);
  assert.deepEqual([offered("@e", true), offered("@e", false)], [["3", "everyone"], ["3"]]);
  assert.deepEqual([offered("@everyone", true), offered("@everyone ", true)], [[], []], "Enter sends the whole word");
  const wire = (words) => ({ ...wireMessage(1), text: { body: `@${words}`, mentions_everyone: true } });
  for (const { load } of Object.values(LANGUAGES)) assert.ok(EVERYONE.includes((await load()).composer.everyone));
  for (const word of EVERYONE) assert.match(shownPlain(fromHistory({ message: wire(word) }), new Profiles()), new RegExp(`@${word}\u2069`));
});

test("a member whose name is a word for all members is mentioned by it alone, and all members by another word", () => {
  const members = [mira, member("3", "alle", "everyone")];
  const { mentions, mentions_everyone } = textWith("@alle and @Mira Okafor", members, [], true);
  assert.deepEqual([mentions, mentions_everyone], [[{ user_id: "3", name: "alle" }, AT_MIRA], undefined]);
  assert.equal(textWith("@everyone", members, [], true).mentions_everyone, undefined);
  assert.equal(textWith("@الجميع @alle", members, [], true).mentions_everyone, true);
  const text = { body: "@الجميع @alle", mentions: [{ user_id: "3", name: "alle" }], mentions_everyone: true };
  const profiles = new Profiles();
  profiles.put([member("3", "anna", "Anna")]);
  assert.match(shownPlain(fromHistory({ message: { ...wireMessage(1), text } }), profiles), /@Anna/);
});

test("no name is found in code, in a longer word, an address or a link", () => {
  for (const body of ["`@ada`", "``x @ada``", "```\n@ada\n```", "@adam", "@ada_b", "x@ada", "ada", "@ ada", "@ADA"])
    assert.deepEqual(found(body), [], body);
  for (const body of ["https://a.example/@ada", "[@ada](https://a.example)", "mail me@ada.example"])
    assert.deepEqual(found(body), [], body);
});

test("members with one name are mentioned by their user names", () => {
  const twins = [member("1", "one", "Twin"), member("2", "two", "Twin"), member("3", "twin3", "two")];
  assert.deepEqual(found("@Twin @one @two", twins), ["1:one", "2:two"]);
  assert.deepEqual(matching(twins, "Tw").map(({ name }) => name), ["one", "two", "twin3"]);
  const long = member("4", "four", "ü".repeat(33));
  assert.deepEqual(matching([long], "ü").map(({ name }) => name), ["four"], "more than 64 bytes");
});

test("an edit keeps former names, but not the words for all members; a text mentions 50 users at most", () => {
  const before = [{ user_id: MIRA, name: "Mimi" }, { user_id: "99", name: "Not Loaded" }, ...AT_EVERYONE];
  assert.deepEqual(found("@Mimi and @Not Loaded", MEMBERS, before), [`${MIRA}:Mimi`, "99:Not Loaded"]);
  assert.equal(textWith("@everyone", MEMBERS, before).mentions_everyone, undefined);
  const many = Array.from({ length: 60 }, (_, at) => member(String(100 + at), `u${at}`, ""));
  assert.equal(found(many.map(({ name }) => `@${name}`).join(" "), many).length, 50);
});

for (const [text, expected] of [
  ["@", { start: 0, typed: "" }],
  ["hi @Mira Ok", { start: 3, typed: "Mira Ok" }],
  ["(@é", { start: 1, typed: "é" }],
  ...["a@b", "@ x", "@a\nb", `@${"a".repeat(65)}`].map((none) => [none, null]),
])
  test(`the name at the end of "${text.slice(0, 20)}" is ${expected?.typed ?? "none"}`, () => {
    assert.deepEqual(mentionAtEnd(text), expected);
  });

test("members are found by the beginning of their names, of a word in them, and of their user names", () => {
  const members = [member("1", "ok", "Zoé"), member("2", "b", "Mira Okafor"), member("3", "c", "Okan")];
  assert.deepEqual(matching(members, "ok").map(({ member: { user_id } }) => user_id), ["3", "2", "1"]);
  assert.deepEqual(matching(members, "zoe").map(({ name }) => name), ["Zoé"]);
  assert.deepEqual(matching(members, "Mira Okafor"), [], "Enter sends the whole name");
  assert.deepEqual(matching([{ ...mira, deleted: true, name: "", display_name: "" }], ""), []);
});

test("of 1,000 members a bounded number is offered, and each can be mentioned", () => {
  const members = Array.from({ length: 1_000 }, (_, at) => member(String(at + 1), `user${at}`, `User ${at}`));
  const { start, choices } = offerMembers("Dear @user", members);
  assert.deepEqual([start, choices.length, choices[0].text], [5, MAX_FOUND, "@User 0 "]);
  assert.deepEqual(found("Dear @User 999", members), ["1000:User 999"]);
});

test("mentions are nodes with their place in the source, in nested markup too", () => {
  const [{ children }] = parse("a **@Mira Okafor** `@Mira Okafor`", [AT_MIRA]);
  const [, bold, , code] = children;
  assert.deepEqual(bold.children, [{ kind: "mention", start: 4, end: 16, text: "@Mira Okafor", mention: AT_MIRA }]);
  assert.equal(code.text, "@Mira Okafor");
});

test("other names are shown: isolated in a line, plain in a copied text, and never in code or as markup", () => {
  const source = "**@Mira Okafor** `@Mira Okafor`\n- @Mira Okafor";
  assert.equal(plainText(source, [AT_MIRA], () => "*M*"), "\u2068@*M*\u2069 @Mira Okafor\n- \u2068@*M*\u2069");
  assert.equal(withNames(source, [AT_MIRA], () => "M"), "**@M** `@Mira Okafor`\n- @M");
});

test("a line shows today's name, the written one until the profile is loaded, and no controls of direction", async () => {
  let answer = [];
  const profiles = new Profiles(async () => answer);
  const text = { body: "@a\u202eb and @Mimi", mentions: [{ user_id: "9", name: "a\u202eb" }, { user_id: MIRA, name: "Mimi" }] };
  const message = fromHistory({ message: wireMessage(1), changes: [changeAt(2, 1, { edited: { text } }, MIRA)] });
  const line = () => shownPlain(message, profiles).replace(/[\u2068\u2069]/g, "|");
  answer = [{ ...mira, display_name: "Mira \u202eO" }];
  assert.equal(line(), "|@ab| and |@Mimi|");
  await settle();
  assert.equal(line(), "|@ab| and |@Mira O|");
  profiles.put([{ user_id: MIRA, name: "", display_name: "", about: "", deleted: true }]);
  assert.equal(line(), "|@ab| and |@Deleted account|");
});

test("50 mentions 1,000 times are found in time, and those after 1,000 nodes are text", () => {
  const mentions = Array.from({ length: 50 }, (_, at) => ({ user_id: String(at + 1), name: `aaaa${at}` }));
  const body = "@aaaa49 @aaaa ".repeat(3_000);
  const began = performance.now();
  assert.equal(plainText(body, mentions, () => "x").match(/@x/g).length, 1_000);
  assert.ok(performance.now() - began < 1_000);
});
