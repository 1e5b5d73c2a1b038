import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { closestWord } from "./closest-word.ts";

const words = ["sync", "serve", "status", "peers", "pair", "id"];

test("a slip of the finger finds its word", () => {
  for (const [slip, word] of [
    ["snyc", "sync"],
    ["synk", "sync"],
    ["SYNC", "sync"],
    ["sttus", "status"],
    ["peerss", "peers"],
    ["di", "id"],
  ] as const) {
    assert.equal(closestWord(slip, words), word, slip);
  }
});

test("another word finds none", () => {
  for (const word of ["", "rsync-all", "xyzzy", "copy", "x".repeat(65)]) {
    assert.equal(closestWord(word, words), undefined, word);
  }
});

test("a word is closest to itself, and one edit away from it with a letter left out", () => {
  const word = fc.stringMatching(/^[a-z]{4,12}$/);
  fc.assert(
    fc.property(word, fc.nat(), (text, at) => {
      assert.equal(closestWord(text, [...words, text]), text);
      const index = at % text.length;
      const shorter = text.slice(0, index) + text.slice(index + 1);
      assert.equal(closestWord(shorter, [text]), text);
    }),
  );
});
