import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ChangedNodes } from "./changed-nodes.ts";

test("nothing is kept while nobody takes it", () => {
  const changed = new ChangedNodes();
  changed.mark(5);
  assert.equal(changed.count, 0);
  assert.equal(changed.isMarked(5), false);
});

test("what is taken is what whole epochs have changed, told by when they did last", () => {
  const step = fc.oneof(fc.nat(200), fc.constant("commit" as const), fc.constant("take" as const));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const changed = new ChangedNodes();
      changed.isOn = true;
      const model = new Map<number, number>();
      let restedEnd = 0;
      for (const one of steps) {
        if (one === "commit") {
          changed.commit();
        } else if (one === "take") {
          const { rested, fresh } = changed.take(changed.epoch, restedEnd);
          const taken = [...model].filter(([, epoch]) => epoch < changed.epoch);
          const wanted = (isRested: boolean): number[] =>
            taken
              .filter(([, epoch]) => epoch < restedEnd === isRested)
              .map(([node]) => node)
              .sort((a, b) => a - b);
          assert.deepEqual(
            [...rested].sort((a, b) => a - b),
            wanted(true),
          );
          assert.deepEqual(
            [...fresh].sort((a, b) => a - b),
            wanted(false),
          );
          for (const [node] of taken) model.delete(node);
          restedEnd = changed.epoch;
        } else {
          changed.mark(one);
          model.set(one, changed.epoch);
        }
        assert.equal(changed.count, model.size);
      }
    }),
  );
});

test("what could not be dealt with is taken next time, unless it has changed again", () => {
  const changed = new ChangedNodes();
  changed.isOn = true;
  changed.again(7);
  assert.deepEqual(changed.take(changed.epoch, changed.epoch).rested, [7]);
  changed.mark(7);
  changed.again(7);
  assert.deepEqual(changed.take(changed.epoch, changed.epoch), { rested: [], fresh: [] });
});
