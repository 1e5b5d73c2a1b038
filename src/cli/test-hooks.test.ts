import assert from "node:assert/strict";
import { test } from "node:test";
import { areCutsValidated, areJournalsKept } from "./test-hooks.ts";

for (const [name, ask, said] of [
  ["LOCKSTEP_TEST_NO_VALIDATION", areCutsValidated, "cuts are not validated"],
  ["LOCKSTEP_TEST_NO_JOURNAL", areJournalsKept, "targets have no journal"],
] as const) {
  test(`only ${name}=1 switches it off, which is said as an error`, () => {
    const lines: string[] = [];
    const log = { write: (level: string, line: string) => void lines.push(`${level}: ${line}`) };
    for (const env of [{}, { [name]: "" }, { [name]: "0" }]) assert.equal(ask(env, log), true);
    assert.deepEqual(lines, []);
    assert.equal(ask({ [name]: "1" }, log), false);
    assert.deepEqual(lines, [`error: ${said}: for tests only (${name}=1)`]);
  });
}
