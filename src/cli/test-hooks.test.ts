import assert from "node:assert/strict";
import { test } from "node:test";
import { areCutsValidated } from "./test-hooks.ts";

test("cuts are validated unless a test says 1, which is said as an error", () => {
  const lines: string[] = [];
  const log = { write: (level: string, line: string) => void lines.push(`${level}: ${line}`) };
  for (const env of [{}, { LOCKSTEP_TEST_NO_VALIDATION: "" }, { LOCKSTEP_TEST_NO_VALIDATION: "0" }])
    assert.equal(areCutsValidated(env, log), true);
  assert.deepEqual(lines, []);
  assert.equal(areCutsValidated({ LOCKSTEP_TEST_NO_VALIDATION: "1" }, log), false);
  assert.match(lines[0] ?? "", /^error: cuts are not validated: for tests only/);
});
