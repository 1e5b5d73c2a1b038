import assert from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { SyncError } from "../base/index.ts";
import { CutRig, Script, sequence } from "./cutter.fuzz.ts";
import { type DeletionLimit, deletionLimitDefault } from "./deletion-guard.ts";

const count = (value: number): DeletionLimit => ({
  text: String(value),
  kind: "count",
  value,
  countMin: 0,
});
const share = (value: number): DeletionLimit => ({ ...count(value), kind: "share" });

function rigOf(context: TestContext, maxDelete: DeletionLimit): CutRig {
  const rig = new CutRig();
  rig.maxDelete = maxDelete;
  context.after(() => rig.end());
  return rig;
}

/** Live, with a folder of so many files. */
function live(context: TestContext, maxDelete: DeletionLimit, fileCount: number): Live {
  const rig = rigOf(context, maxDelete);
  const script = new Script(rig);
  script.mkdir("d");
  for (let i = 0; i < fileCount; i++) fs.writeFileSync(script.at(`d/f${i}`), "x");
  fs.writeFileSync(script.at("stays"), "x");
  rig.start();
  assert.equal(rig.settle().at(-1)?.live, true);
  const remove = (from: number, to: number): void => {
    for (let i = from; i < to; i++) script.unlink(`d/f${i}`);
  };
  return { rig, script, remove };
}

interface Live {
  rig: CutRig;
  script: Script;
  remove: (from: number, to: number) => void;
}

/** What was committed before the halt. */
function halts(rig: CutRig, code: string): void {
  assert.throws(
    () => rig.settle(),
    (error) => error instanceof SyncError && error.code === code && error.kind === "halt",
  );
}

function pass(rig: CutRig, seconds: number): void {
  for (let i = 0; i < seconds; i += 5) {
    rig.timeUs += 5e6;
    rig.cutter.guard.tick(rig.timeUs);
  }
}

test("an epoch that deletes more than the share is not committed", (context) => {
  const { rig, remove } = live(context, deletionLimitDefault, 100);
  remove(0, 52);
  const before = rig.epochs.length;
  halts(rig, "TOO_MANY_DELETES");
  assert.equal(rig.epochs.length, before);
});

test("deletions add up over epochs, and are forgotten after some minutes", (context) => {
  const { rig, remove } = live(context, deletionLimitDefault, 100);
  remove(0, 30);
  assert.equal(rig.settle().length, 1);
  pass(rig, 310);
  remove(30, 60);
  assert.equal(rig.settle().length, 1);
  remove(60, 67);
  halts(rig, "TOO_MANY_DELETES");
});

test("what was made a moment ago may go, however much it is", (context) => {
  const { rig, script } = live(context, deletionLimitDefault, 2);
  for (let i = 0; i < 50; i++) script.create(`new${i}`, "x");
  rig.settle();
  for (let i = 0; i < 50; i++) script.unlink(`new${i}`);
  assert.equal(rig.settle().length, 1);
});

test("files that are replaced or moved are not deleted", async (context) => {
  const { rig, script } = live(context, count(0), 30);
  for (let i = 0; i < 30; i++) {
    script.create("d/tmp", "new");
    script.rename("d/tmp", `d/f${i}`);
  }
  script.rename("d", "e");
  rig.settle();
  await rig.assertEqual("after the renames");
});

test("unless a limit is given, a few deletions pass whatever their share", (context) => {
  const few = live(context, deletionLimitDefault, 9);
  few.remove(0, 9);
  assert.equal(few.rig.settle().length, 1);
  const asked = live(context, share(0.5), 9);
  asked.remove(0, 9);
  halts(asked.rig, "TOO_MANY_DELETES");
});

test("a count is the number of entries that may go, with all below a folder", (context) => {
  const { rig, script, remove } = live(context, count(20), 40);
  remove(0, 20);
  assert.equal(rig.settle().length, 1);
  script.removeAll("d");
  halts(rig, "TOO_MANY_DELETES");
});

test("the last entries of the root do not go, but the very last one may", (context) => {
  const two = live(context, deletionLimitDefault, 0);
  two.script.removeAll("d");
  two.script.unlink("stays");
  halts(two.rig, "ROOT_EMPTIED");
  const one = live(context, deletionLimitDefault, 0);
  one.script.removeAll("d");
  assert.equal(one.rig.settle().length, 1);
  pass(one.rig, 310);
  one.script.unlink("stays");
  assert.equal(one.rig.settle().length, 1);
});

/** A target with all that a wrong source can lack: hard links, and kinds that differ. */
function oldTarget(rig: CutRig): string[] {
  const at = (path: string): string => join(rig.target, path);
  fs.mkdirSync(at("tree/deep"), { recursive: true });
  for (let i = 0; i < 20; i++) fs.writeFileSync(at(`tree/deep/f${i}`), "old");
  fs.writeFileSync(at("linked"), "old");
  fs.linkSync(at("linked"), at("tree/link"));
  fs.mkdirSync(at("clash"));
  fs.writeFileSync(at("clash/inside"), "old");
  fs.writeFileSync(at("gone"), "old");
  return listing(rig.target);
}

function listing(folder: string): string[] {
  return fs.readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
}

test("a wrong source deletes nothing before the halt, and copies nothing", (context) => {
  const rig = rigOf(context, deletionLimitDefault);
  const before = oldTarget(rig);
  fs.writeFileSync(join(rig.source, "clash"), "another kind");
  fs.writeFileSync(join(rig.source, "new"), "new");
  rig.start();
  halts(rig, "TOO_MANY_DELETES");
  assert.deepEqual(listing(rig.target), before);
});

test("a source that has nothing in common with the target is not called empty", (context) => {
  const rig = rigOf(context, deletionLimitDefault);
  for (let i = 0; i < 20; i++) fs.writeFileSync(join(rig.target, `old${i}`), "old");
  fs.writeFileSync(join(rig.source, "new"), "new");
  rig.start();
  halts(rig, "TOO_MANY_DELETES");
});

test("an empty source halts, even before a target of one file", (context) => {
  const rig = rigOf(context, deletionLimitDefault);
  fs.writeFileSync(join(rig.target, "only"), "old");
  rig.start();
  halts(rig, "ROOT_EMPTIED");
  assert.deepEqual(listing(rig.target), ["only"]);
});

test("deletions and changes of kind below the limit are in the first epoch", async (context) => {
  const rig = rigOf(context, count(25));
  oldTarget(rig);
  fs.writeFileSync(join(rig.source, "linked"), "old");
  fs.writeFileSync(join(rig.source, "clash"), "another kind");
  rig.start();
  const epochs = rig.settle();
  assert.deepEqual(
    epochs.map(({ live: isLive, fuzzy }) => [isLive, fuzzy]),
    [[true, false]],
  );
  await rig.assertEqual("after the deletions");
});

test("a folder that became a file is asked about while it is still in its place", (context) => {
  const rig = rigOf(context, count(3));
  const at = (path: string): string => join(rig.target, path);
  fs.mkdirSync(at("d"));
  for (let i = 0; i < 3; i++) fs.writeFileSync(at(`d/f${i}`), "old");
  fs.writeFileSync(join(rig.source, "d"), "a file");
  rig.start();
  halts(rig, "TOO_MANY_DELETES");
  assert.deepEqual(listing(rig.target), ["d", "d/f0", "d/f1", "d/f2"]);
});

test("any two trees become equal with deletions held back", async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const rig = new CutRig();
    rig.maxDelete = count(1e9);
    try {
      const pick = sequence(seed);
      fill(rig.source, pick);
      fill(rig.target, pick);
      fs.writeFileSync(join(rig.source, "always"), "");
      rig.start();
      rig.settle();
      await rig.assertEqual(`seed ${seed}`);
    } finally {
      rig.end();
    }
  }
});

/** A few names in a few folders, of any kind, some of them links to one file. */
function fill(root: string, pick: (below: number) => number): void {
  const folders = [root];
  const files: string[] = [];
  for (let i = 0; i < 25; i++) {
    const path = join(folders[pick(folders.length)]!, `n${pick(6)}`);
    if (fs.lstatSync(path, { throwIfNoEntry: false }) !== undefined) continue;
    const kind = pick(4);
    if (kind === 0) {
      fs.mkdirSync(path);
      folders.push(path);
    } else if (kind === 1 && files.length > 0) {
      fs.linkSync(files[pick(files.length)]!, path);
    } else if (kind === 2) {
      fs.symlinkSync(`to${pick(3)}`, path);
    } else {
      // Files made in one tick have the same time: their size says what is in them.
      fs.writeFileSync(path, "c".repeat(pick(3)));
      files.push(path);
    }
  }
}
