/** The end of a file that grows while a delta of it is made. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ExtentList, rootId, Tree } from "../tree/index.ts";
import { decodeOperation, FrameReader, OpWriter } from "../wire/index.ts";
import { type Files, Mode, Stat } from "../world/index.ts";
import { ContentReader, startReading } from "./content-reader.ts";
import { DirtySet } from "./dirty-set.ts";

/** A reader of one file, which the target has with `targetBytes`; `size` is what fstat tells. */
function readerOf(targetBytes: number, size: number) {
  const tree = new Tree();
  const node = tree.addNode(Mode.regular | 0o644);
  tree.addName(rootId, Buffer.from("a"), node);
  tree.size[node] = targetBytes;
  const cuts: number[] = [];
  const sink = new Proxy(
    { truncate: (_node: number, at: number) => void cuts.push(at), zero: () => {} },
    { get: (target, name): unknown => Reflect.get(target, name) },
  );
  const frames = new FrameReader((type, bytes, start, end) =>
    decodeOperation(type, bytes, start, end, sink as never),
  );
  const writer = new OpWriter((piece) => frames.push(piece));
  const files = {
    dataExtents: () => 0,
    fstat: (_fd: number, out: Float64Array) => {
      out[Stat.size] = size;
      return 0;
    },
  };
  const dirty = new DirtySet(tree, () => {});
  const reader = new ContentReader(files as unknown as Files, tree, writer, dirty, () => true);
  const told = (): (readonly [number, number])[] =>
    [...dirty.takeNodes().values()].flatMap(({ extents }) =>
      Array.from({ length: extents.count }, (_, i) => [extents.from(i), extents.to(i)] as const),
    );
  const end = (readTo: number): number => {
    const result = reader.endAtSize(node, 3, readTo);
    writer.flush();
    return result;
  };
  const hole = (from: number, to: number): number => {
    const extents = new ExtentList();
    extents.add(from, to);
    const result = reader.read(startReading(node, extents), 3);
    writer.flush();
    return result;
  };
  return { node, tree, dirty, cuts, told, end, hole };
}

test("a size that grew behind the reader is not told before the bytes that belong to it", () => {
  const { node, tree, dirty, cuts, told, end } = readerOf(100, 500);
  dirty.noteRead(node, 0, Infinity);
  dirty.addChanged(node, 450, Infinity);
  dirty.conflict = false;
  assert.equal(end(300), 0);
  assert.deepEqual(cuts, [300]);
  assert.equal(tree.size[node], 300);
  assert.ok(dirty.conflict, "what it has grown by must be read before the cut closes");
  assert.deepEqual(told(), [[300, Infinity]]);
});

test("a size that was read to is told, and what was told of it is done with", () => {
  for (const [targetBytes, size] of [
    [100, 300],
    [900, 300],
    [900, 200],
  ] as const) {
    const { node, tree, dirty, cuts, told, end } = readerOf(targetBytes, size);
    dirty.addChanged(node, size, Infinity);
    assert.equal(end(300), 0);
    assert.deepEqual(cuts, [size]);
    assert.equal(tree.size[node], size);
    assert.ok(!dirty.conflict);
    assert.deepEqual(told(), []);
  }
});

test("a hole at the end is no past state when a write behind it is told later", () => {
  const { node, dirty, cuts, hole } = readerOf(27, 1 << 20);
  assert.equal(hole(0, 65536), 1);
  assert.deepEqual(cuts, [65536]);
  dirty.conflict = false;
  dirty.addChanged(node, 131072, 1 << 20);
  assert.ok(dirty.conflict);
});
