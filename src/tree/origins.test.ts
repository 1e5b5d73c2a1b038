import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type OriginFields, Origins } from "./origins.ts";

const nothing: OriginFields = { ino: 0, gen: 0, ctimeSec: 0, ctimeNsec: 0 };
const fields: fc.Arbitrary<OriginFields> = fc.record(
  {
    ino: fc.integer({ min: 1, max: 2 ** 53 - 1 }),
    gen: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    ctimeSec: fc.maxSafeInteger(),
    ctimeNsec: fc.nat(999_999_999),
  },
  { noNullPrototype: true },
);
const step = fc.tuple(fc.nat(300), fc.constantFrom("set", "forget", "change"), fields);

test("origins are what a map of them would be, however many there are", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const origins = new Origins();
      const model = new Map<number, OriginFields>();
      for (const [node, what, origin] of steps) {
        const known = model.get(node);
        if (what === "set") {
          origins.set(node, origin);
          model.set(node, origin);
        } else if (what === "forget") {
          origins.forget(node);
          model.delete(node);
        } else {
          const { ctimeSec, ctimeNsec } = origin;
          origins.setChangeTime(node, ctimeSec, ctimeNsec);
          if (known !== undefined) model.set(node, { ...known, ctimeSec, ctimeNsec });
        }
      }
      for (let node = 0; node <= 301; node++) {
        const wanted = model.get(node) ?? nothing;
        assert.deepEqual(origins.get(node), wanted);
        assert.equal(origins.has(node), model.has(node));
        const isDated = wanted.ctimeSec !== 0 || wanted.ctimeNsec !== 0;
        assert.equal(origins.hasChangeTime(node), isDated);
      }
    }),
  );
});

test("a time of a node without an inode is not taken for an origin", () => {
  const origins = new Origins();
  origins.setChangeTime(3, 5, 6);
  assert.equal(origins.has(3), false);
  assert.deepEqual(origins.get(3), nothing);
  assert.equal(origins.hasChangeTime(3), false);
});
