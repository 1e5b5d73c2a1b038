import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SortedNames } from "./sorted-names.ts";

function all(names: SortedNames): string[] {
  const taken: string[] = [];
  for (let next = names.next; next !== undefined; next = names.next) {
    assert.equal(names.take(), next);
    taken.push(next);
  }
  assert.equal(names.take(), undefined);
  return taken;
}

test("names come in the order of their bytes, each once", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string({ unit: "binary-ascii", minLength: 1 })), (names) => {
      assert.deepEqual(all(new SortedNames(names)), [...names].sort());
    }),
  );
});

test("so do more names than are sorted at once", () => {
  const names = Array.from({ length: 50_001 }, (_, i) => `n${(i * 7919) % 50_021}`);
  assert.deepEqual(all(new SortedNames(names)), [...names].sort());
});
