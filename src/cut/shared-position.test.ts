import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ExtentList } from "../tree/index.ts";
import { SharedPositionRuns } from "./shared-position.ts";

/**
 * Threads that write through one descriptor. The kernel serialises the writes; each is told after
 * its call, at the position that the descriptor has by then.
 */
interface Outstanding {
  length: number;
}

test("whatever threads write through a shared position is told in the end", () => {
  const step = fc.tuple(fc.nat(3), fc.integer({ min: 1, max: 40 }));
  fc.assert(
    fc.property(fc.nat(500), fc.array(step, { maxLength: 60 }), (start, steps) => {
      const runs = new SharedPositionRuns();
      const told = new ExtentList();
      const outstanding: (Outstanding | undefined)[] = [undefined, undefined, undefined, undefined];
      let position = start;
      const report = (thread: number): void => {
        const { length } = outstanding[thread]!;
        outstanding[thread] = undefined;
        const from = runs.widen(1, position - length, position);
        assert.ok(from <= position - length, "never narrower than what was told");
        assert.ok(from >= 0);
        told.add(from, position);
      };
      for (const [thread, length] of steps) {
        if (outstanding[thread] !== undefined) {
          report(thread);
          continue;
        }
        outstanding[thread] = { length };
        position += length;
      }
      for (let thread = 0; thread < 4; thread++) if (outstanding[thread]) report(thread);
      if (position === start) return;
      const covered = told.count === 1 && told.from(0) <= start && told.to(0) === position;
      const list = Array.from({ length: told.count }, (_, at) => [told.from(at), told.to(at)]);
      assert.ok(covered, `wrote [${start}, ${position}), told ${JSON.stringify(list)}`);
    }),
    { numRuns: 3000 },
  );
});

test("one thread that writes on and on is told as it wrote", () => {
  const runs = new SharedPositionRuns();
  for (let at = 0; at < 100; at++) assert.equal(runs.widen(1, at * 10, at * 10 + 10), at * 10);
});

test("files are told apart, and a forgotten one begins anew", () => {
  const runs = new SharedPositionRuns();
  assert.equal(runs.widen(1, 100, 120), 100);
  assert.equal(runs.widen(2, 100, 120), 100);
  assert.equal(runs.widen(1, 100, 120), 80);
  runs.forget(2);
  assert.equal(runs.widen(2, 100, 120), 100);
});
