import assert from "node:assert/strict";
import { test } from "node:test";
import { Mode } from "../world/index.ts";
import { Tree } from "../tree/index.ts";
import { DirtySet } from "./dirty-set.ts";
import { forgetReads } from "./unvalidated.ts";

for (const isForgotten of [false, true]) {
  const what = isForgotten ? "no conflict when reads are forgotten" : "a conflict";
  test(`a write to what was read is ${what}`, () => {
    const tree = new Tree();
    const node = tree.addNode(Mode.regular | 0o644);
    tree.bindInode(node, 7, 1);
    const dirty = new DirtySet(tree, () => {});
    if (isForgotten) forgetReads(dirty);
    dirty.beginEpoch();
    dirty.noteRead(node, 0, 100);
    dirty.written(7, 1, 50, 60, 1, false, false);
    assert.equal(dirty.conflict, !isForgotten);
    assert.equal(dirty.isEmpty, false, "it is told all the same");
  });
}
