/** The fake clock against a sorted list, and its limits. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { AssertionError } from "../base/index.ts";
import { FakeClock } from "./fake-clock.ts";

function makeClock(): FakeClock {
  return new FakeClock({ startUs: 500, wallStartMs: 7000, eventsMax: 1000 });
}

test("events fire in order of time, then of registration", () => {
  const delays = fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 60, size: "max" });
  const cancelled = fc.array(fc.nat({ max: 59 }), { maxLength: 10 });
  fc.assert(
    fc.property(delays, cancelled, (delaysMs, cancels) => {
      const clock = makeClock();
      const fired: number[] = [];
      const timers = delaysMs.map((delayMs, index) =>
        clock.after(delayMs, () => fired.push(index)),
      );
      for (const index of cancels) timers[index]?.cancel();
      const expected = delaysMs
        .map((delayMs, index) => ({ delayMs, index }))
        .filter(({ index }) => !cancels.includes(index))
        .sort((left, right) => left.delayMs - right.delayMs || left.index - right.index);
      assert.equal(clock.pendingCount, expected.length);
      for (let step = 0; step < 20; step += 1) clock.advance(1);
      assert.deepEqual(
        fired,
        expected.map(({ index }) => index),
      );
      assert.equal(clock.pendingCount, 0);
    }),
  );
});

test("time stands still but for advance, and a timer sees its own time", () => {
  const clock = makeClock();
  const seenUs: number[] = [];
  clock.after(2, () => {
    seenUs.push(clock.monotonicUs());
    clock.after(3, () => seenUs.push(clock.monotonicUs()));
  });
  clock.defer(() => seenUs.push(clock.monotonicUs()));
  assert.deepEqual(seenUs, []);
  assert.equal(clock.runDue(), 1);
  assert.equal(clock.nextDueUs, 2500);
  clock.advance(10);
  assert.deepEqual(seenUs, [500, 2500, 5500]);
  assert.equal(clock.monotonicUs(), 10_500);
  assert.equal(clock.wallMs(), 7010);
  clock.jumpWall(-5000);
  assert.equal(clock.wallMs(), 2010);
  assert.equal(clock.monotonicUs(), 10_500);
});

test("what wakes itself for ever fails instead of hanging", () => {
  const clock = makeClock();
  const again = (): void => clock.defer(again);
  again();
  assert.throws(() => clock.runDue(), AssertionError);
});
