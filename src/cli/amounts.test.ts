import assert from "node:assert/strict";
import { test } from "node:test";
import { SyncError } from "../base/index.ts";
import { parseDeletionLimit, parseFreeLimit } from "./amounts.ts";

test("a limit of deletions is a count or a percentage, and all of it is none", () => {
  assert.deepEqual(parseDeletionLimit("25"), { text: "25", kind: "count", value: 25, countMin: 0 });
  const half = { text: "12.5%", kind: "share", value: 0.125, countMin: 0 };
  assert.deepEqual(parseDeletionLimit("12.5%"), half);
  assert.equal(parseDeletionLimit("0")?.value, 0);
  assert.equal(parseDeletionLimit("100%"), undefined);
  for (const text of ["", "-1", "1.5", "101%", "ten", "5 %", "%", "1e3", "0x10"]) {
    assert.throws(
      () => parseDeletionLimit(text),
      (error) => error instanceof SyncError && error.code === "USAGE",
      text,
    );
  }
});

test("space to keep free is bytes with a unit or a percentage, and 0 is none", () => {
  const cases: readonly (readonly [string, number])[] = [
    ["4096", 4096],
    ["1K", 1024],
    ["1.5k", 1536],
    ["500MiB", 500 * 1024 ** 2],
    ["2GB", 2 * 1024 ** 3],
    ["1T", 1024 ** 4],
  ];
  for (const [text, bytes] of cases) {
    assert.deepEqual(parseFreeLimit(text), { text, bytes, share: 1 });
  }
  assert.deepEqual(parseFreeLimit("5%"), { text: "5%", bytes: Infinity, share: 0.05 });
  assert.equal(parseFreeLimit("0"), undefined);
  for (const text of ["", "-1", "M", "1P", "101%", "1 G", "9e9", "999999999999999T"]) {
    assert.throws(
      () => parseFreeLimit(text),
      (error) => error instanceof SyncError && error.code === "USAGE",
      text,
    );
  }
});
