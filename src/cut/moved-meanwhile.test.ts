/**
 * What the cut has begun to compare moves before it is done with it, or is back where it was before
 * it was found elsewhere: nothing of it may be forgotten.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { NameChange } from "../capture/index.ts";
import { rootId } from "../tree/index.ts";
import { CutRig, Script } from "./cutter.fuzz.ts";

function rigFor(context: TestContext): { rig: CutRig; script: Script } {
  const rig = new CutRig();
  context.after(() => rig.end());
  return { rig, script: new Script(rig) };
}

/** Does `act` once, in the midst of a cut, as soon as `isTime`. No descriptor is open then. */
function once(rig: CutRig, isTime: () => boolean, act: () => void): () => boolean {
  let isDone = false;
  rig.onRoom = () => {
    if (isDone || !isTime()) return;
    isDone = true;
    act();
    rig.cutter.directories.clear();
  };
  return () => isDone;
}

const at = (rig: CutRig, path: string): number =>
  path
    .split("/")
    .reduce((node, name) => rig.sourceTree.child(node, Buffer.from(name)), Number(rootId));

test("metadata is compared though the folder moves before it is", async (context) => {
  const { rig, script } = rigFor(context);
  for (const root of [rig.source, rig.target]) {
    fs.mkdirSync(join(root, "d/e"), { recursive: true });
    fs.writeFileSync(join(root, "d/e/f"), "the same");
    fs.utimesSync(join(root, "d/e/f"), 7, 7);
  }
  fs.chmodSync(join(rig.source, "d/e/f"), 0o4711);
  rig.start();
  const isBound = (): boolean => rig.sourceTree.ino[at(rig, "d/e/f")] !== 0;
  const isDone = once(rig, isBound, () => script.rename("d", "moved"));
  rig.settle();
  assert.ok(isDone());
  await rig.assertEqual("after the move");
});

test("a folder's time is told though the one above it moves before that", async (context) => {
  const { rig, script } = rigFor(context);
  script.mkdir("d");
  script.mkdir("d/e");
  rig.start();
  rig.settle();
  script.create("d/e/f", "new");
  const isDone = once(
    rig,
    () => at(rig, "d/e/f") !== 0,
    () => script.rename("d", "moved"),
  );
  rig.settle();
  assert.ok(isDone());
  await rig.assertEqual("after the move");
});

/** A start at which the target's folder `d` is known to be another one's of the source by now. */
function startMoved(rig: CutRig): void {
  fs.mkdirSync(join(rig.source, "d"));
  fs.mkdirSync(join(rig.target, "d"));
  fs.writeFileSync(join(rig.target, "d/f"), "old");
  fs.writeFileSync(join(rig.source, "d/f"), "new content");
  rig.start();
  const node = at(rig, "d");
  rig.sourceTree.bindInode(rootId, ...rig.identity(rig.source));
  rig.sourceTree.bindInode(node, ...rig.identity(join(rig.source, "d")));
  rig.cutter.dirty.rescan = false;
  rig.cutter.dirty.hold();
  const equal = { equalFiles: 0, equalBytes: 0 };
  rig.cutter.begin({ moved: new Set([node]), rest: "different", ...equal });
}

test("what was expected elsewhere and is back is compared", async (context) => {
  const { rig } = rigFor(context);
  startMoved(rig);
  rig.settle();
  await rig.assertEqual("it was back before the scan");
});

test("what was expected elsewhere and comes back after the scan is compared", async (context) => {
  const { rig } = rigFor(context);
  startMoved(rig);
  fs.renameSync(join(rig.source, "d"), join(rig.folder, "away"));
  const [ino, gen] = rig.identity(rig.source);
  const [childIno, childGen] = rig.identity(join(rig.folder, "away"));
  const back = NameChange.moved;
  // The first look at the root did not see it.
  let drains = 0;
  rig.onDrain = () => {
    if (++drains !== 2) return;
    fs.renameSync(join(rig.folder, "away"), join(rig.source, "d"));
    rig.tell((sink) => sink.name(ino, gen, Buffer.from("d"), childIno, childGen, back));
  };
  rig.settle();
  await rig.assertEqual("it came back later");
});

test("a change of what is expected elsewhere does not stand for its content", async (context) => {
  const { rig } = rigFor(context);
  for (const root of [rig.source, rig.target]) {
    fs.writeFileSync(join(root, "f"), root === rig.source ? "new" : "old");
    fs.utimesSync(join(root, "f"), 7, root === rig.source ? 8 : 7);
  }
  rig.start();
  const node = at(rig, "f");
  const inode = rig.identity(join(rig.source, "f"));
  rig.sourceTree.bindInode(rootId, ...rig.identity(rig.source));
  rig.sourceTree.bindInode(node, ...inode);
  rig.cutter.dirty.rescan = false;
  rig.cutter.dirty.hold();
  rig.cutter.dirty.attributes(...inode);
  const equal = { equalFiles: 0, equalBytes: 0 };
  rig.cutter.begin({ moved: new Set([node]), rest: "different", ...equal });
  rig.settle();
  await rig.assertEqual("it was back, and told of");
});

test("a file that is cut before it is read is not left as it was for an epoch", async (context) => {
  const { rig, script } = rigFor(context);
  script.create("a", "1".repeat(5000));
  script.create("b", "1");
  rig.start();
  rig.settle();
  script.write("a", 5000, Buffer.from("journal"));
  script.write("b", 0, Buffer.from("2"));
  // Told after that only: without a conflict `b` would go out, and `a` neither written nor cut.
  const isDone = once(
    rig,
    () => true,
    () => script.truncate("a", 0),
  );
  const epochs = rig.settle();
  assert.ok(isDone());
  assert.equal(epochs.length, 1);
  await rig.assertEqual("after the cut");
});

test("a file read as it was made longer goes out with what was first", async (context) => {
  const { rig, script } = rigFor(context);
  script.create("a", "1".repeat(5000));
  rig.start();
  rig.settle();
  script.write("a", 0, Buffer.from("2"));
  script.create("new", "");
  const isDone = once(
    rig,
    () => true,
    () => {
      script.write("a", 1000, Buffer.from("first"));
      script.truncate("new", 100);
    },
  );
  const epochs = rig.settle();
  assert.ok(isDone());
  assert.equal(epochs.length, 1);
  await rig.assertEqual("after the cut");
});

test("a file read as it was emptied goes out with what was first", async (context) => {
  const { rig, script } = rigFor(context);
  script.create("a", "1".repeat(5000));
  rig.start();
  rig.settle();
  script.write("a", 0, Buffer.from("2"));
  script.create("new", "content");
  const isDone = once(
    rig,
    () => true,
    () => {
      script.write("a", 1000, Buffer.from("first"));
      script.truncate("new", 0);
    },
  );
  const epochs = rig.settle();
  assert.ok(isDone());
  assert.equal(epochs.length, 1);
  await rig.assertEqual("after the cut");
});
