import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { capabilityName, withoutAttribute } from "./attribute-list.ts";

type Entry = readonly [name: Uint8Array, value: Uint8Array];

function listOf(entries: readonly Entry[]): Uint8Array {
  const parts = entries.flatMap(([name, value]) => {
    const head = Buffer.alloc(2);
    head.writeUInt16LE(name.length);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(value.length);
    return [head, name, length, value];
  });
  return Uint8Array.from(Buffer.concat(parts));
}

const bytes = fc.uint8Array({ minLength: 1, maxLength: 30 });
const entry = fc.tuple(bytes, bytes);

test("the attribute goes and the others stay as they are", () => {
  fc.assert(
    fc.property(fc.array(entry), fc.array(entry), bytes, (before, after, value) => {
      const whole = listOf([...before, [capabilityName, value], ...after]);
      const rest = listOf([...before, ...after]);
      assert.deepEqual(Uint8Array.from(withoutAttribute(whole, capabilityName)), rest);
      assert.equal(withoutAttribute(rest, capabilityName), rest, "it was not in the list");
    }),
  );
});

test("a list that does not have its form is given back whatever its bytes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (list) => {
      assert.ok(withoutAttribute(list, capabilityName).length <= list.length);
      const cut = listOf([[capabilityName, list]]).subarray(0, -1);
      if (list.length > 0) assert.equal(withoutAttribute(cut, capabilityName), cut);
    }),
  );
});
