import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Pace } from "./pace.ts";
import { largeCountMax, WalkCursor } from "./walk-cursor.ts";

const progress = { entryCount: 0, contentBytes: 0, findingCount: 0 };
const bytes = (path: readonly string[]): Uint8Array =>
  Buffer.from(path.length === 0 ? "." : path.join("/"), "latin1");

interface Folder {
  readonly [name: string]: Folder;
}

/** The order in which a comparison takes folders; `finish` says whether it goes on. */
function walk(root: Folder, cursor: WalkCursor, compare: (path: string) => boolean): void {
  const visit = (folder: Folder, path: readonly string[]): boolean => {
    const isDone = cursor.isDone(bytes(path));
    if (!isDone) {
      if (!compare(path.join("/"))) return false;
      cursor.finished(bytes(path), progress);
    }
    return Object.keys(folder)
      .sort()
      .filter((name) => !isDone || cursor.isAhead(bytes([...path, name])))
      .every((name) => visit(folder[name]!, [...path, name]));
  };
  visit(root, []);
}

const name = fc.constantFrom("a", "b", "B", "a.b", "a-b", "\xff");
const below = (inner: fc.Arbitrary<Folder>): fc.Arbitrary<Folder> =>
  fc.dictionary(name, inner, { maxKeys: 3, noNullPrototype: true });
const tree = below(below(below(fc.constant({}))));

test("stopped anywhere, however often, every folder is compared once", () => {
  fc.assert(
    fc.property(tree, fc.integer({ min: 1, max: 5 }), (root, stepCount) => {
      const all: string[] = [];
      walk(root, new WalkCursor(), (path) => all.push(path) > 0);
      const compared: string[] = [];
      let cursor = new WalkCursor();
      for (let run = 0; run <= all.length && compared.length < all.length; run++) {
        let left = stepCount;
        walk(root, cursor, (path) => left-- > 0 && compared.push(path) > 0);
        cursor = new WalkCursor(cursor.state);
      }
      assert.deepEqual(compared, all);
    }),
  );
});

test("a folder that is gone since is passed by", () => {
  const first = new WalkCursor();
  first.finished(bytes(["b", "gone"]), progress);
  const cursor = new WalkCursor(first.state);
  const left: string[] = [];
  walk({ a: {}, b: { first: {}, second: { x: {} }, zz: {} }, c: {} }, cursor, (path) => {
    return left.push(path) > 0;
  });
  assert.deepEqual(left, ["b/second", "b/second/x", "b/zz", "c"]);
});

test("large files of the unfinished folder are remembered, and of no other", () => {
  const cursor = new WalkCursor();
  cursor.noteRead("early", 2 ** 30);
  cursor.finished(bytes([]), progress);
  cursor.noteRead("small", 1000);
  for (let i = 0; i < largeCountMax + 5; i++) cursor.noteRead(`large${i}`, 2 ** 30);
  const again = new WalkCursor(cursor.state);
  assert.equal(cursor.state?.large.length, largeCountMax);
  assert.ok(again.hasRead("large0"));
  assert.ok(!again.hasRead("early"));
  assert.ok(!again.hasRead("small"));
  again.finished(bytes(["a"]), progress);
  assert.ok(!again.hasRead("large0"));
  assert.deepEqual(again.state?.large, []);
});

test("a rate lets through what it says, and makes up for little", () => {
  const pace = new Pace(1_000_000);
  let nowUs = 5e6;
  const startedUs = nowUs;
  for (let i = 0; i < 100; i++) nowUs += pace.waitMs(100_000, nowUs) * 1000;
  const seconds = (nowUs - startedUs) / 1e6;
  assert.ok(seconds > 9.5 && seconds <= 10, `${seconds} s for 10 MB`);
  nowUs += 60e6;
  assert.ok(pace.waitMs(1_000_000, nowUs) > 700, "a minute of rest is not made up for");
  assert.equal(new Pace(Infinity).waitMs(2 ** 40, 0), 0);
});
