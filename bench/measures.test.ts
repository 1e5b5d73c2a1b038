import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { median, ratioByRound, showNumber, showRatio, showUs, summarize } from "./measures.ts";

test("a summary of nothing is nothing, and of one sample is that sample", () => {
  assert.equal(summarize([]), undefined);
  assert.deepEqual(summarize([7]), { n: 1, min: 7, p50: 7, p90: 7, p99: 7, max: 7 });
});

test("quantiles are nearest rank and do not depend on order", () => {
  const samples = Array.from({ length: 100 }, (_, index) => 100 - index);
  assert.deepEqual(summarize(samples), { n: 100, min: 1, p50: 50, p90: 90, p99: 99, max: 100 });
});

test("quantiles sort by value, not by text", () => {
  assert.equal(median([9, 10, 11]), 10);
  assert.equal(summarize([-5, 3, 20])?.min, -5);
});

test("every quantile is a sample and they are ordered", () => {
  const finite = fc.double({ noNaN: true, noDefaultInfinity: true });
  fc.assert(
    fc.property(fc.array(finite, { minLength: 1 }), (samples) => {
      const summary = summarize(samples);
      assert.ok(summary);
      const { min, p50, p90, p99, max } = summary;
      const ordered = [min, p50, p90, p99, max];
      for (const value of ordered) assert.ok(samples.some((sample) => sample === value));
      for (let i = 1; i < ordered.length; i += 1) assert.ok(ordered[i]! >= ordered[i - 1]!);
    }),
  );
});

test("ratios are formed within a round, not between the medians of all rounds", () => {
  // The machine was ten times slower in the second round, for both sides alike.
  const ratio = ratioByRound([20, 200, 22], [10, 100, 10]);
  assert.deepEqual(ratio, { rounds: 3, median: 2, min: 2, max: 2.2 });
});

test("rounds without a value on either side are left out", () => {
  assert.equal(ratioByRound([undefined, 4], [1, 2])?.rounds, 1);
  assert.equal(ratioByRound([4], [0]), undefined);
  assert.equal(ratioByRound([], []), undefined);
});

test("numbers show three significant digits and times their unit", () => {
  assert.deepEqual([0.12345, 1.2345, 12.345, 1234.5].map(showNumber), [
    "0.123",
    "1.23",
    "12.3",
    "1235",
  ]);
  assert.deepEqual([50, 25_000, 2_500_000].map(showUs), ["50.0 µs", "25.0 ms", "2.50 s"]);
  assert.equal(showRatio(ratioByRound([2, 3], [1, 1])), "2.00x (2.00..3.00, 2 rounds)");
  assert.equal(showRatio(undefined), "-");
});
