import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { Directories, ESTALE } from "../descriptors/index.ts";
import { rootId, Tree } from "../tree/index.ts";
import { type Files, Open, Stat, statSlots } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import { seenFile, SourceFiles } from "./source-files.ts";

const name = Buffer.from("file");
const laterMs = 10_000;

/** A folder with one file, known to the tree, and a count of full stats of descriptors. */
function rig(t: TestContext): {
  path: string;
  node: number;
  stat: Float64Array;
  sources: SourceFiles;
  counts: { full: number };
} {
  const root = fs.mkdtempSync(join(tmpdir(), "lockstep-source-files-"));
  const path = join(root, "file");
  fs.writeFileSync(path, "text");
  const counts = { full: 0 };
  const files: Files = {
    ...native(),
    statAt: (fd, at, out) => {
      counts.full++;
      return native().statAt(fd, at, out);
    },
  };
  const rootFd = native().openPath(Buffer.from(root), Open.read | Open.directory);
  const stat = new Float64Array(statSlots);
  assert.equal(native().statAt(rootFd, name, stat), 0);
  const tree = new Tree();
  const node = tree.addNode(stat[Stat.mode]!);
  tree.bindInode(node, stat[Stat.ino]!, stat[Stat.gen]!);
  const sources = new SourceFiles(files, tree, new Directories(files, rootFd, tree));
  t.after(() => {
    native().close(rootFd);
    fs.rmSync(root, { recursive: true });
  });
  return { path, node, stat, sources, counts };
}

test("a file whose last change has rested is not asked for what it had when it was seen", (t) => {
  const { node, stat, sources, counts } = rig(t);
  const fd = sources.open(rootId, name, node, seenFile(stat, Date.now() + laterMs));
  assert.ok(fd >= 0);
  native().close(fd);
  assert.equal(counts.full, 0);
  assert.deepEqual(sources.stat, stat);
});

test("a file changed since it was seen is asked for everything", (t) => {
  const { path, node, stat, sources, counts } = rig(t);
  const seen = seenFile(stat, Date.now() + laterMs);
  // The clock of inodes advances in steps.
  while (fs.statSync(path).ctimeMs === stat[Stat.ctimeSec]! * 1000 + stat[Stat.ctimeNsec]! / 1e6) {
    fs.chmodSync(path, 0o600);
  }
  const fd = sources.open(rootId, name, node, seen);
  assert.ok(fd >= 0);
  native().close(fd);
  assert.equal(counts.full, 1);
  assert.equal(sources.stat[Stat.mode]! & 0o777, 0o600);
});

test("another file of that name is not the one that is meant", (t) => {
  const { path, node, stat, sources } = rig(t);
  const seen = seenFile(stat, Date.now() + laterMs);
  fs.writeFileSync(`${path}.new`, "other");
  fs.renameSync(`${path}.new`, path);
  assert.equal(sources.open(rootId, name, node, seen), -ESTALE);
});

test("a change that has not rested tells nothing", (t) => {
  const { stat } = rig(t);
  assert.equal(seenFile(stat, Date.now() + 1000), undefined);
  assert.equal(seenFile(stat, Date.now() - laterMs), undefined);
});
