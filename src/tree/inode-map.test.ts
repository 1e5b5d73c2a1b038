import assert from "node:assert/strict";
import { test } from "node:test";
import { InodeMap } from "./inode-map.ts";

const idCount = 4096;

function sequence(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function tables(): { ino: Float64Array; gen: Uint32Array; map: InodeMap } {
  const ino = new Float64Array(idCount);
  const gen = new Uint32Array(idCount);
  const map = new InodeMap(
    () => ino,
    () => gen,
  );
  return { ino, gen, map };
}

/** Runs of occupied slots form and break up all over the table, its end and beginning included. */
function churn(seed: number, liveMax: number): void {
  const { ino, gen, map } = tables();
  const pick = sequence(seed);
  const model = new Map<string, number>();
  const free = Array.from({ length: idCount - 1 }, (_, at) => at + 1);
  const live: string[] = [];
  for (let i = 0; i < 3000; i++) {
    if (live.length < liveMax && (live.length === 0 || pick(5) > 1)) {
      // Inodes above 2^32 with small low parts, and generations: what a hash might mix up.
      const inode = 1 + pick(400) + pick(3) * 2 ** 32 + pick(2) * 2 ** 45;
      const generation = pick(3);
      const key = `${inode}.${generation}`;
      assert.equal(map.get(inode, generation), model.get(key) ?? 0);
      if (model.has(key)) continue;
      const id = free.pop()!;
      ino[id] = inode;
      gen[id] = generation;
      map.add(id);
      model.set(key, id);
      live.push(key);
    } else {
      const at = pick(live.length);
      const key = live[at]!;
      live[at] = live[live.length - 1]!;
      live.pop();
      const id = model.get(key)!;
      map.remove(id);
      model.delete(key);
      free.push(id);
    }
  }
  for (const [key, id] of model) {
    const [inode, generation] = key.split(".").map(Number);
    assert.equal(map.get(inode!, generation!), id, `seed ${seed}, ${key}`);
  }
}

test("deletion keeps every other entry reachable, whatever collides", () => {
  for (let seed = 1; seed <= 30; seed++) churn(seed, 500);
});

test("a map that has grown holds the same", () => {
  for (let seed = 100; seed < 104; seed++) churn(seed, 2000);
});

test("removing what is not there is a bug, and found", () => {
  const { ino, map } = tables();
  ino[1] = 5;
  assert.throws(() => map.remove(1), /does not hold/);
});
