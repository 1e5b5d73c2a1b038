/** Histogram resolution and the restart budget. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { LATENCY_CELL_COUNT, LatencyHistogram } from "./latency.ts";
import { RestartBudget } from "./supervisor.ts";

test("quantiles are within an eighth above the true ones", () => {
  const delaysNs = fc.array(fc.integer({ min: 0, max: 4_000_000_000 }), { minLength: 1 });
  fc.assert(
    fc.property(delaysNs, (values) => {
      const histogram = new LatencyHistogram(new Uint32Array(LATENCY_CELL_COUNT));
      for (const value of values) histogram.record(value / 1000);
      const sorted = values.toSorted((left, right) => left - right);
      const summary = histogram.summary();
      assert.equal(summary.sampleCount, values.length);
      assert.equal(summary.maxUs, (sorted.at(-1) ?? 0) / 1000);
      for (const [share, foundUs] of [
        [0.5, summary.p50Us],
        [0.99, summary.p99Us],
      ] as const) {
        const trueNs = sorted[Math.ceil(values.length * share) - 1] ?? 0;
        const foundNs = foundUs * 1000;
        assert.ok(foundNs >= trueNs - 0.5 && foundNs <= trueNs * 1.125 + 1, `${foundNs} ${trueNs}`);
      }
    }),
  );
});

test("the restart budget admits no more than its number in any window", () => {
  const gapsUs = fc.array(fc.integer({ min: 0, max: 2000 }), { maxLength: 50 });
  fc.assert(
    fc.property(gapsUs, fc.integer({ min: 0, max: 4 }), (gaps, restartsMax) => {
      const budget = new RestartBudget({ restartsMax, restartWindowMs: 3 });
      const taken: number[] = [];
      let nowUs = 5;
      for (const gapUs of gaps) {
        nowUs += gapUs;
        const recentCount = taken.filter((timeUs) => nowUs - timeUs < 3000).length;
        assert.equal(budget.take(nowUs), recentCount < restartsMax);
        if (recentCount < restartsMax) taken.push(nowUs);
      }
      assert.equal(budget.restartCount, taken.length);
    }),
  );
});
