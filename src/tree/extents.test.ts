import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { extentCountMax, ExtentList } from "./extents.ts";

const bits = 64;
/** Short ranges, so that gaps stay; one in ten has no end. */
const range = fc
  .tuple(fc.nat(bits), fc.nat(6), fc.nat(9))
  .map(([from, length, chance]) => [from, Math.min(bits, from + length), chance === 0] as const);

function ranges(list: ExtentList): [number, number][] {
  return Array.from({ length: list.count }, (_, at) => [list.from(at), list.to(at)]);
}

/** The runs of set bits, where a last run that reaches beyond the bitmap ends at Infinity. */
function runs(set: readonly boolean[]): [number, number][] {
  const found: [number, number][] = [];
  for (let at = 0; at < set.length; at++) {
    if (!set[at]) continue;
    const from = at;
    while (at < set.length && set[at]) at++;
    found.push([from, at === set.length ? Infinity : at]);
  }
  return found;
}

test("few ranges are exactly the union of what was added", () => {
  fc.assert(
    fc.property(fc.array(range, { maxLength: 20 }), range, (added, [a, b]) => {
      const list = new ExtentList();
      const set = Array.from({ length: bits + 2 }, () => false);
      for (const [from, to, endless] of added) {
        list.add(from, endless ? Infinity : to);
        for (let at = from; at < (endless ? set.length : to); at++) set[at] = true;
      }
      assert.deepEqual(ranges(list), runs(set));
      assert.equal(list.isEmpty, list.count === 0);
      const [from, to] = a < b ? [a, b] : [b, b + 1];
      assert.equal(list.intersects(from, to), set.slice(from, to).includes(true));
      list.clear();
      assert.ok(list.isEmpty);
    }),
    { numRuns: 400 },
  );
});

test("many ranges stay bounded, sorted and apart, and cover at least what was added", () => {
  const gap = fc.integer({ min: 1, max: 1000 });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(gap, gap), { minLength: extentCountMax + 1, maxLength: 1600, size: "max" }),
      fc.boolean(),
      (pairs, backwards) => {
        const added: [number, number][] = [];
        let at = 0;
        for (const [skip, length] of pairs) {
          added.push([at + skip, at + skip + length]);
          at += skip + length;
        }
        const list = new ExtentList();
        for (const [from, to] of backwards ? added.toReversed() : added) {
          list.add(from, to);
          assert.ok(list.count <= extentCountMax);
        }
        const kept = ranges(list);
        for (let i = 1; i < kept.length; i++) assert.ok(kept[i]![0] > kept[i - 1]![1]);
        let index = 0;
        for (const [from, to] of added) {
          while (kept[index]![1] < to) index++;
          assert.ok(kept[index]![0] <= from, `[${from}, ${to}) is not covered`);
          assert.ok(list.intersects(from, to));
        }
        const [first, last] = [added[0]!, added[added.length - 1]!];
        assert.deepEqual([kept[0]![0], kept[kept.length - 1]![1]], [first[0], last[1]]);
      },
    ),
    { numRuns: 12 },
  );
});

test("an empty range adds nothing", () => {
  const list = new ExtentList();
  list.add(5, 5);
  list.add(9, 3);
  assert.ok(list.isEmpty);
});
