import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { NameTable } from "./name-table.ts";

function key(parent: number, name: Uint8Array): string {
  return `${parent}/${Buffer.from(name).toString("latin1")}`;
}

/** Small numbers that look random: the same ones in every run. */
function sequence(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

test("a table finds what a map finds", () => {
  const name = fc.uint8Array({ minLength: 1, maxLength: 3, max: 3 });
  const one = fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 3 }), name);
  fc.assert(
    fc.property(fc.array(one, { maxLength: 200 }), (steps) => {
      const table = new NameTable();
      const model = new Map<string, number>();
      for (const [add, parent, bytes] of steps) {
        const at = key(parent, bytes);
        const id = table.find(parent, bytes);
        assert.equal(id !== 0, model.has(at));
        if (id !== 0) assert.equal(table.node[id], model.get(at));
        if (add && id === 0) {
          table.add(parent, bytes, model.size + 1);
          model.set(at, model.size + 1);
        } else if (!add && id !== 0) {
          table.remove(id);
          model.delete(at);
        }
        assert.equal(table.count, model.size);
      }
    }),
    { numRuns: 150 },
  );
});

test("names keep their bytes through growth of the table and reclaiming of the arena", () => {
  const table = new NameTable();
  const pick = sequence(7);
  const held = new Map<string, { parent: number; name: Uint8Array; node: number }>();
  // Far more bytes pass through than are ever held, so the arena is rewritten many times.
  for (let i = 0; i < 60_000; i++) {
    const parent = 1 + pick(20);
    const name = new Uint8Array(1 + pick(i % 7 === 0 ? 255 : 24));
    for (let at = 0; at < name.length; at++) name[at] = pick(256);
    const at = key(parent, name);
    const id = table.find(parent, name);
    assert.equal(table.node[id] ?? 0, held.get(at)?.node ?? 0);
    if (id !== 0) continue;
    table.add(parent, name, i + 1);
    held.set(at, { parent, name, node: i + 1 });
    if (held.size > 4000) {
      const [first, oldest] = held.entries().next().value!;
      table.remove(table.find(oldest.parent, oldest.name));
      held.delete(first);
    }
  }
  assert.equal(table.count, held.size);
  for (const { parent, name, node } of held.values()) {
    const id = table.find(parent, name);
    assert.equal(table.node[id], node);
    assert.deepEqual(table.bytes(id), name);
  }
});

test("removal keeps every other name reachable, also across the end of the hash", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const table = new NameTable();
    const pick = sequence(seed);
    const live: Uint8Array[] = [];
    for (let i = 0; i < 4000; i++) {
      if (live.length < 1000 && (live.length === 0 || pick(5) > 1)) {
        const name = new TextEncoder().encode(`${i}`);
        table.add(1, name, i + 1);
        live.push(name);
      } else {
        const at = pick(live.length);
        table.remove(table.find(1, live[at]!));
        live[at] = live[live.length - 1]!;
        live.pop();
      }
    }
    for (const name of live) assert.notEqual(table.find(1, name), 0, `seed ${seed}`);
  }
});

test("a name may be added from a view of the table itself while the arena moves", () => {
  const table = new NameTable();
  const long = new Uint8Array(255).fill(65);
  const first = table.add(1, long, 1);
  for (let parent = 2; parent < 2000; parent++) table.add(parent, table.bytes(first), parent);
  for (let parent = 1; parent < 2000; parent++) {
    assert.deepEqual(table.bytes(table.find(parent, long)), long);
  }
});

test("a prefix of a name is another name", () => {
  const table = new NameTable();
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);
  table.add(1, text("ab"), 1);
  assert.equal(table.find(1, text("a")), 0);
  assert.equal(table.find(1, text("abc")), 0);
  assert.equal(table.find(2, text("ab")), 0);
});
