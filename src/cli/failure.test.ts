import assert from "node:assert/strict";
import { test } from "node:test";
import { assert as invariant, errorTable, SyncError } from "../base/index.ts";
import type { ErrorCode } from "../base/index.ts";
import { failureOf } from "./failure.ts";

test("an expected failure has its code, exit code and advice, and no stack", () => {
  for (const code of Object.keys(errorTable) as ErrorCode[]) {
    const failure = failureOf(new SyncError(code, "what happened"));
    assert.deepEqual([failure.exit, failure.code], [errorTable[code].exit, code]);
    const advice = `  ${errorTable[code].advice}`;
    assert.deepEqual(failure.lines, [`lockstep: ${code}: what happened`, advice]);
  }
});

test("anything else is an internal error, with its stack and the request to report it", () => {
  let bug: unknown;
  try {
    invariant(false, "broken");
  } catch (error) {
    bug = error;
  }
  for (const thrown of [bug, new TypeError("broken"), "broken"]) {
    const { exit, code, lines } = failureOf(thrown);
    assert.deepEqual([exit, code], [70, "INTERNAL"]);
    assert.match(lines.join("\n"), /^lockstep: INTERNAL: .*broken[^]*please report it/);
  }
  assert.match(failureOf(bug).lines.join("\n"), /failure\.test/);
});
