// The visual design, checked in the files: contrast in both schemes, tokens as the only source of colours and sizes,
// and nothing inline.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import test from "node:test";

const WEB = new URL("../../../web/", import.meta.url);
const read = (name) => readFileSync(new URL(name, WEB), "utf8");
const files = readdirSync(WEB, { recursive: true }).map((name) => name.replaceAll("\\", "/"));
const tokens = read("tokens.css");

/** The colours of the light and of the dark scheme, by name. */
const SCHEMES = { light: {}, dark: {} };
for (const [, name, light, dark = light] of tokens.matchAll(
  /--([\w-]+): (?:light-dark\()?(#[0-9a-f]{6})(?:, (#[0-9a-f]{6})\))?;/g,
))
  [SCHEMES.light[name], SCHEMES.dark[name]] = [light, dark];

/** Relative luminance and contrast as WCAG 2.2 defines them. */
function luminance(colour) {
  const [r, g, b] = [1, 3, 5]
    .map((at) => parseInt(colour.slice(at, at + 2), 16) / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(one, other) {
  const [darker, lighter] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (lighter + 0.05) / (darker + 0.05);
}

const TEXT_ON_GROUND = [
  ...["ink", "ink-soft", "accent", "danger"].flatMap((text) => ["paper", "surface"].map((ground) => [text, ground])),
  ["ink", "sunken"],
  ["ink-soft", "sunken"],
  ["accent-ink", "accent"],
  ["accent-soft-ink", "accent-soft"],
  ["accent-soft-quiet", "accent-soft"],
  ["ink-soft", "accent-soft"],
  ["accent", "accent-soft"],
  ["warn", "warn-soft"],
  ["ink", "warn-soft"],
  ["warn", "surface"],
  ["danger", "danger-soft"],
  ["ink", "danger-soft"],
  ["danger-ink", "danger"],
  ...Array.from({ length: 8 }, (_, at) => ["avatar-ink", `avatar-${at + 1}`]),
];

for (const [scheme, colours] of Object.entries(SCHEMES)) {
  test(`text is 4.5:1 on its ground in the ${scheme} scheme`, () => {
    for (const [text, ground] of TEXT_ON_GROUND) {
      const ratio = contrast(colours[text], colours[ground]);
      assert.ok(ratio >= 4.5, `${text} on ${ground}: ${ratio.toFixed(2)}`);
    }
  });

  test(`focus and the edges of fields are 3:1 in the ${scheme} scheme`, () => {
    for (const mark of ["accent", "edge"]) {
      for (const ground of ["paper", "surface"])
        assert.ok(contrast(colours[mark], colours[ground]) >= 3, `${mark} on ${ground}`);
    }
  });
}

test("styles name no colour and no size of their own", () => {
  for (const name of files.filter((file) => file.startsWith("styles/") && file.endsWith(".css"))) {
    const css = read(name)
      .replace(/\/\*.*?\*\//gs, "")
      .replace(/@media[^{]*/g, "");
    assert.doesNotMatch(css, /#[0-9a-f]{3,8}\b|\brgba?\(|\bhsl|\d(px|rem|ms)\b/i, name);
  }
});

test("sizes follow the text size of the browser, but for the lines around things", () => {
  const fixed = [...tokens.matchAll(/--([\w-]+): [^;]*\dpx/g)].map(([, name]) => name);
  assert.deepEqual(fixed.toSorted(), ["hairline", "outline", "shadow", "shadow-high", "target"]);
  for (const name of files.filter((file) => file.endsWith(".css")))
    assert.doesNotMatch(read(name), /@media[^{]*\dpx/, name);
});

test("every token that is used is declared", () => {
  const known = new Set([...tokens.matchAll(/(--[\w-]+):/g)].map(([, name]) => name));
  for (const name of files.filter((file) => file.endsWith(".css"))) {
    for (const [, used] of read(name).matchAll(/var\((--[\w-]+)\)/g)) assert.ok(known.has(used), `${used} in ${name}`);
  }
});

test("nothing is inline, nothing loads from other hosts, and no text is parsed as markup", () => {
  for (const name of files.filter((file) => file.endsWith(".html")))
    assert.doesNotMatch(read(name), /<style|\sstyle=|\son\w+=|https?:\/\//, name);
  for (const name of files.filter((file) => file.endsWith(".js"))) {
    assert.doesNotMatch(
      read(name),
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\("style"/,
      name,
    );
  }
});

/** All modules that a page fetches at its start, without those that it imports on demand. */
function fetchedBy(name, all = new Set()) {
  if (all.has(name)) return all;
  all.add(name);
  for (const [, path] of read(name).matchAll(/^(?:import|export)\b[^;]*?from "(\.[^"]+)";/gm))
    fetchedBy(new URL(path, new URL(name, WEB)).href.slice(WEB.href.length), all);
  return all;
}

test("only admins fetch the modules of the admin page", () => {
  const isAdmin = (name) => name.startsWith("admin/");
  assert.deepEqual([...fetchedBy("main.js")].filter(isAdmin), []);
  assert.deepEqual([...fetchedBy("admin/main.js")].filter(isAdmin), [
    ...["admin/main.js", "admin/languages/language.js", "admin/languages/en.js"],
  ]);
  const onDemand = /types|main|languages\/(?!en|language)/;
  const all = files.filter((file) => isAdmin(file) && file.endsWith(".js") && !onDemand.test(file));
  const found = [...fetchedBy("admin/shell.js")].filter(isAdmin);
  assert.deepEqual(found.toSorted(), all.toSorted());
});

test("animations are off if the system asks for reduced motion", () => {
  assert.match(tokens, /prefers-reduced-motion: reduce\) \{ :root \{ --fast: 0ms; --pulse: 0s; \} \}/);
  assert.match(read("styles/base.css"), /prefers-reduced-motion: reduce/);
});
