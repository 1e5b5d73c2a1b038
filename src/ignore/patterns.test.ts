import assert from "node:assert/strict";
import { test } from "node:test";
import {
  globstarCountMax,
  parsePatterns,
  patternBytesMax,
  patternCountMax,
  patternFault,
} from "./patterns.ts";

const parse = (text: string): ReturnType<typeof parsePatterns> => parsePatterns(Buffer.from(text));

test("blank lines, comments, line ends, spaces at the end and a BOM are left out", () => {
  const { patterns, faults } = parse("\uFEFFa\r\n\n#c\n  \n\\#d  \ne\\ \nf\\\\  \n!g\n");
  assert.deepEqual(patterns, ["a", "\\#d", "e\\ ", "f\\\\", "!g"]);
  assert.deepEqual(faults, []);
});

test("bytes that are not UTF-8 stay what they are", () => {
  assert.deepEqual(parsePatterns(Uint8Array.of(0xff, 0x2a)).patterns, ["\xff*"]);
});

test("a line that cannot be used is told with its number and reason", () => {
  const { patterns, faults } = parse("a\nb\\\n[c\n!\n[[:nothing:]]\n/\n[]d]\n[[:alpha:]]\nb\\/\n");
  assert.deepEqual(patterns, ["a", "[]d]", "[[:alpha:]]"]);
  assert.deepEqual(
    faults.map(({ line }) => line),
    [2, 3, 4, 5, 6, 9],
  );
  assert.match(faults[0]!.reason, /backslash/);
  assert.match(faults[1]!.reason, /bracket/);
});

test("patterns are bounded in number, length and double asterisks", () => {
  const many = parse("a\n".repeat(patternCountMax + 10));
  assert.equal(many.patterns.length, patternCountMax);
  assert.equal(many.faults.length, 1);
  assert.equal(patternFault("a".repeat(patternBytesMax)), undefined);
  assert.match(patternFault("a".repeat(patternBytesMax + 1)) ?? "", /longer/);
  assert.equal(patternFault("**/".repeat(globstarCountMax) + "a"), undefined);
  assert.match(patternFault("**/".repeat(globstarCountMax + 1) + "a") ?? "", /asterisks/);
});
