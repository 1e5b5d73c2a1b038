import assert from "node:assert/strict";
import { test } from "node:test";
import { SyncError } from "../base/index.ts";
import { parseDeletionLimit } from "./amounts.ts";

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
