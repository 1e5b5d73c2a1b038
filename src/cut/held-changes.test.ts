import assert from "node:assert/strict";
import { test } from "node:test";
import { NameChange } from "../capture/index.ts";
import { Tree } from "../tree/index.ts";
import { DirtySet, heldChangeCountMax } from "./dirty-set.ts";

const file = 0o100644;
const directory = 0o040755;

function bound(tree: Tree, mode: number, ino: number): number {
  const node = tree.addNode(mode);
  tree.bindInode(node, ino, 1);
  return node;
}

test("what was told of nodes that come to be known is told anew, in order and once", () => {
  const tree = new Tree();
  const dirty = new DirtySet(tree, () => {});
  dirty.written(9, 1, 0, 10, 1, false, false);
  dirty.hold();
  dirty.written(5, 1, 100, 110, 7, false, false);
  dirty.appended(6, 1, 8);
  dirty.truncated(7, 1, 3, 9);
  dirty.attributes(5, 1);
  dirty.closed(6, 1);
  dirty.name(8, 1, Buffer.from("name"), 5, 1, NameChange.created);
  dirty.written(10, 1, 0, 10, 1, false, false);
  assert.ok(dirty.isEmpty);
  const nodes = [5, 6, 7].map((ino) => bound(tree, file, ino));
  const [five, six, seven] = nodes as [number, number, number];
  tree.size[six] = 40;
  tree.size[seven] = 40;
  const parent = bound(tree, directory, 8);
  // Held no longer than until now: of this one it was told before.
  bound(tree, file, 9);
  assert.equal(dirty.release(), true);
  assert.equal(dirty.oldestUs, 7);
  assert.deepEqual(
    dirty.takeNames().map(({ parent: at, name }) => [at, Buffer.from(name).toString()]),
    [[parent, "name"]],
  );
  const taken = dirty.takeNodes();
  assert.deepEqual([...taken.keys()], nodes);
  assert.deepEqual([taken.get(five)!.extents.from(0), taken.get(five)!.extents.to(0)], [100, 110]);
  assert.deepEqual([taken.get(five)!.metadata, taken.get(six)!.closed], [true, true]);
  assert.deepEqual([taken.get(six)!.extents.from(0), taken.get(seven)!.extents.from(0)], [40, 3]);
  assert.equal(dirty.release(), false);
});

test("too much to be held is said", () => {
  const dirty = new DirtySet(new Tree(), () => {});
  dirty.hold();
  for (let i = 0; i < heldChangeCountMax; i++) dirty.attributes(i + 2, 1);
  dirty.hold();
  assert.equal(dirty.release(), true);
  dirty.hold();
  for (let i = 0; i <= heldChangeCountMax; i++) dirty.unknownContent(i + 2, 1);
  assert.equal(dirty.release(), false);
});
