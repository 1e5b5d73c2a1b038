/** A scanned folder is the folder, in ids that equal folders have in common. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { rootId, Tree } from "../tree/index.ts";
import { Open, statSlots } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import { TreeScan } from "./tree-scan.ts";

interface Left {
  first: number;
  end: number;
  isWhole: boolean;
}

interface Scanned {
  tree: Tree;
  left: Map<string, Left>;
}

function scan(root: string, without?: string): Scanned {
  const files = native();
  const rootFd = files.openPath(Buffer.from(root), Open.read | Open.directory);
  const tree = new Tree();
  const left = new Map<string, Left>();
  const stat = new Float64Array(statSlots);
  assert.equal(files.statAt(rootFd, new Uint8Array(0), stat), 0);
  const one = new TreeScan(files, rootFd, tree, stat, {
    admits: (_, name) => Buffer.from(name).toString() !== without,
    left: (directory, first, end, isWhole) =>
      left.set(tree.path(directory), { first, end, isWhole }),
    unreadable: (directory, result) => assert.fail(`${tree.path(directory)}: ${result}`),
  });
  while (one.step());
  files.close(rootFd);
  return { tree, left };
}

function folder(test: { after: (done: () => void) => void }): string {
  const at = fs.mkdtempSync(join(tmpdir(), "tree-scan-"));
  test.after(() => fs.rmSync(at, { recursive: true, force: true }));
  return at;
}

/** Paths by id. */
function pathsOf({ tree }: Scanned): string[] {
  const paths: string[] = [];
  for (let node = rootId; node < tree.endId; node++) paths.push(tree.path(node));
  return paths;
}

test("entries are in the order of their names' bytes, each subdirectory's together", (t) => {
  const root = folder(t);
  for (const path of ["b/x", "b/a", "a/z/q", "a/é", "a/y"]) {
    fs.mkdirSync(join(root, path), { recursive: true });
  }
  fs.writeFileSync(join(root, "c"), "");
  fs.symlinkSync("c", join(root, "B"));
  const scanned = scan(root);
  const wanted = [".", "B", "a", "b", "c", "a/y", "a/z", "a/é", "a/z/q", "b/a", "b/x"];
  assert.deepEqual(pathsOf(scanned), wanted);
  assert.deepEqual(scanned.left.get("a"), { first: 6, end: 10, isWhole: true });
  assert.deepEqual(scanned.left.get("."), { first: 2, end: 12, isWhole: true });
  assert.deepEqual(scan(root, "z").left.get("a"), { first: 6, end: 8, isWhole: true });
});

test("equal folders at other places, made in another order, differ by a constant", (t) => {
  const root = folder(t);
  const names = Array.from({ length: 300 }, (_, i) => `d${i % 7}/e${i % 5}/f${i}`);
  for (const [at, order] of [
    ["one", names],
    ["zwei/below", [...names].reverse()],
  ] as const) {
    for (const name of order) {
      fs.mkdirSync(join(root, at, name, ".."), { recursive: true });
      fs.writeFileSync(join(root, at, name), name);
    }
  }
  const { tree, left } = scan(root);
  const [one, two] = [left.get("one")!, left.get("zwei/below")!];
  assert.equal(one.end - one.first, two.end - two.first);
  for (let i = 0; i < one.end - one.first; i++) {
    const path = tree.path(one.first + i).replace(/^one/, "zwei/below");
    assert.equal(tree.path(two.first + i), path);
  }
});

test("a file with several names is one node, and the directory of its second is not whole", (t) => {
  const root = folder(t);
  fs.mkdirSync(join(root, "a"));
  fs.mkdirSync(join(root, "b/c"), { recursive: true });
  fs.writeFileSync(join(root, "a/file"), "12345");
  fs.linkSync(join(root, "a/file"), join(root, "b/other"));
  execFileSync("setfattr", ["-n", "user.k", "-v", "v", join(root, "a/file")]);
  const { tree, left } = scan(root);
  const node = tree.child(tree.child(rootId, Buffer.from("a")), Buffer.from("file"));
  assert.equal(node, tree.child(tree.child(rootId, Buffer.from("b")), Buffer.from("other")));
  assert.equal(tree.size[node], 5);
  assert.ok(tree.attributes.get(node)!.length > 0);
  assert.equal(left.get("a")!.isWhole, true);
  assert.equal(left.get("b")!.isWhole, false);
  assert.equal(left.get("b/c")!.isWhole, true);
});

test("a directory of more than one batch is in order too", (t) => {
  const root = folder(t);
  const names = Array.from({ length: 5000 }, (_, i) => `file-${(i * 7919) % 5000}`);
  for (const name of names) fs.writeFileSync(join(root, name), "");
  const { tree } = scan(root);
  const found = Array.from({ length: 5000 }, (_, i) => tree.path(i + 2));
  assert.deepEqual(found, names.sort());
});
