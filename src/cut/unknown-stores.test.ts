import assert from "node:assert/strict";
import { test } from "node:test";
import { Tree } from "../tree/index.ts";
import { DirtySet } from "./dirty-set.ts";
import { UnknownStores, unknownStoreCountMax } from "./unknown-stores.ts";

test("what was noted is taken once, by inode and generation", () => {
  const stores = new UnknownStores();
  stores.note(5, 1);
  stores.noteInode(6);
  stores.note(7, 1);
  stores.note(7, 2);
  assert.equal(stores.take(5, 2), false);
  assert.deepEqual([stores.take(5, 1), stores.take(5, 1)], [true, false]);
  assert.deepEqual([stores.take(6, 9), stores.take(7, 3)], [true, true]);
  assert.equal(stores.size, 0);
});

test("the oldest is forgotten when there are too many", () => {
  const stores = new UnknownStores();
  for (let ino = 1; ino <= unknownStoreCountMax; ino++) stores.note(ino, 1);
  stores.note(1, 1);
  stores.note(unknownStoreCountMax + 1, 1);
  assert.equal(stores.size, unknownStoreCountMax);
  assert.deepEqual([stores.take(1, 1), stores.take(2, 1)], [true, false]);
});

test("stores to a file that the tree does not know yet are looked for when it does", () => {
  const tree = new Tree();
  const told: number[][] = [];
  const unknown = new UnknownStores();
  const dirty = new DirtySet(tree, (...extent) => told.push(extent), unknown);
  dirty.stored(5, 1, 0, 4096);
  dirty.mapped(6, 1);
  dirty.written(7, 1, 0, 10, 1, false, true);
  dirty.written(8, 1, 0, 10, 1, false, false);
  const nodes = [5, 6, 7, 8].map((ino) => {
    const node = tree.addNode(0o100644);
    tree.bindInode(node, ino, 1);
    return node;
  });
  assert.deepEqual(
    told,
    nodes.slice(0, 3).map((node) => [node, 0, Infinity]),
  );
  dirty.stored(5, 1, 0, 4096);
  assert.deepEqual(told.at(-1), [nodes[0], 0, 4096]);
  // Nobody is going to clean what still rests when a session ends.
  dirty.leave([nodes[3]!]);
  assert.equal(unknown.take(8, 1), true);
});

test("without a tree only stores are heard", () => {
  const unknown = new UnknownStores();
  unknown.sink.written(1, 1, 0, 1, 1, false, false);
  unknown.sink.attributes(2, 1);
  unknown.sink.written(3, 1, 0, 1, 1, false, true);
  unknown.sink.stored(4, 1, 0, 1);
  unknown.sink.mapped(5, 1);
  assert.deepEqual(
    [1, 2, 3, 4, 5].map((ino) => unknown.take(ino, 1)),
    [false, false, true, true, true],
  );
});
