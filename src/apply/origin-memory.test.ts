import assert from "node:assert/strict";
import * as fs from "node:fs";
import { test, type TestContext } from "node:test";
import { Origins, rootId, Tree } from "../tree/index.ts";
import type { Origin } from "../wire/index.ts";
import { Errno, FakeClock, type Files, Open, type World } from "../world/index.ts";
import { native, nodeWorld } from "../world/node/index.ts";
import { bytesOf, TargetRig } from "./applier.fuzz.ts";
import { ChangedNodes } from "./changed-nodes.ts";
import { flushMs, OriginMemory } from "./origin-memory.ts";
import { TargetScan } from "./target-scan.ts";

const sec = 1_700_000_000;
const lateMs = (sec + 3600) * 1000;
const originOf = (node: number): Origin => ({
  ino: 1000 + node,
  gen: 5,
  ctimeSec: sec,
  ctimeNsec: node,
});

/** A target that remembers, with a clock of the test's. */
class MemoryRig extends TargetRig {
  readonly said: string[] = [];
  readonly clock: FakeClock;
  readonly memory: OriginMemory;
  readonly #dirFd: number = native().openPath(Buffer.from(this.folder), Open.read | Open.directory);
  readonly #world: World;

  /** `indexFiles` reach the index; `startMs`: the time of day, long after all files by default. */
  constructor(context: TestContext, indexFiles = native() as Files, startMs = Date.now() + 60_000) {
    super();
    this.clock = new FakeClock({ startUs: 0, wallStartMs: startMs, eventsMax: 10_000 });
    const log = { write: (_level: string, message: string) => void this.said.push(message) };
    this.#world = { ...nodeWorld({ write: () => {} }), clock: this.clock, log };
    this.memory = this.#remember(this.tree, this.applier, indexFiles);
    this.memory.scanned();
    context.after(() => {
      native().close(this.#dirFd);
      this.end();
    });
  }

  #remember(
    tree: Tree,
    applier: { origins: Origins; changed: ChangedNodes },
    files: Files,
  ): OriginMemory {
    const place = { files, dirFd: this.#dirFd, name: "index", tag: new Uint8Array(8).fill(3) };
    const { rootFd } = this;
    return new OriginMemory({ files: native(), rootFd, tree, applier, world: this.#world, place });
  }

  /** A file with an origin. */
  remembered(node: number, name: string): void {
    this.file(node, name, `content of ${name}`);
    const { ino, gen, ctimeSec, ctimeNsec } = originOf(node);
    this.send(
      (w) => w.times(node, 1000 + node, 0),
      (w) => w.origin(node, ino, gen, ctimeSec, ctimeNsec),
    );
  }

  /** Lets two timers ring, with all that follows. */
  async rest(): Promise<void> {
    for (let look = 0; look < 2; look++) {
      this.clock.advance(flushMs);
      await this.turns();
    }
  }

  async turns(): Promise<void> {
    for (let turn = 0; turn < 50; turn++) {
      await new Promise(setImmediate);
      this.clock.runDue();
    }
  }

  /** The time of day goes on while it closes. */
  async close(isOrderly = true): Promise<void> {
    const closing = this.memory.close(isOrderly);
    for (let i = 0; i < 3; i++) {
      await this.turns();
      this.clock.advance(30);
    }
    await closing;
  }

  /** What a session that begins now would know, by path. */
  recalled(): Record<string, Origin> {
    const tree = new Tree();
    const applier = { origins: new Origins(), changed: new ChangedNodes() };
    const memory = this.#remember(tree, applier, native());
    // A descriptor remembers how far it has been read.
    const rootFd = native().openPath(Buffer.from(this.root), Open.read | Open.directory);
    const scan = new TargetScan({
      files: native(),
      rootFd,
      tree,
      recall: (node, stat) => memory.recall(node, stat),
    });
    while (scan.step());
    native().close(rootFd);
    const known: Record<string, Origin> = {};
    for (let node = rootId; node < tree.endId; node++) {
      if (applier.origins.has(node)) known[tree.path(node)] = applier.origins.get(node);
    }
    void memory.close(true);
    return known;
  }
}

test("what has rested of whole epochs is recorded and known to the next", async (context) => {
  const rig = new MemoryRig(context);
  rig.remembered(2, "a");
  await rig.rest();
  assert.deepEqual(rig.recalled(), {}, "the epoch is not whole");
  rig.memory.committed(lateMs);
  rig.clock.advance(flushMs);
  await rig.turns();
  assert.deepEqual(rig.recalled(), {}, "it has not rested");
  rig.remembered(3, "b");
  rig.clock.advance(flushMs);
  await rig.turns();
  assert.deepEqual(rig.recalled(), { a: originOf(2) });
  rig.memory.committed(lateMs);
  await rig.rest();
  assert.deepEqual(rig.recalled(), { a: originOf(2), b: originOf(3) });
  assert.equal(rig.clock.pendingCount, 0, "it wakes up although nothing has changed");
  assert.deepEqual(rig.said, []);
});

test("whatever happens to a file makes its record worth nothing", async (context) => {
  const changes: ((rig: MemoryRig) => void)[] = [
    (rig) => fs.appendFileSync(rig.path("a"), "more"),
    (rig) => fs.chmodSync(rig.path("a"), 0o600),
    (rig) => fs.renameSync(rig.path("a"), rig.path("z")),
    (rig) => fs.copyFileSync(rig.path("a"), rig.path("a2")),
    (rig) => {
      // The same content, size and time, in another file.
      fs.cpSync(rig.path("a"), rig.path("t"), { preserveTimestamps: true });
      fs.renameSync(rig.path("t"), rig.path("a"));
    },
    (rig) => {
      const { atime, mtime } = fs.statSync(rig.path("a"));
      fs.writeFileSync(rig.path("a"), "CONTENT of a");
      fs.utimesSync(rig.path("a"), atime, mtime);
    },
  ];
  for (const [index, change] of changes.entries()) {
    const rig = new MemoryRig(context);
    rig.remembered(2, "a");
    rig.memory.committed(lateMs);
    await rig.rest();
    assert.deepEqual(rig.recalled(), { a: originOf(2) });
    change(rig);
    const isUntouched = index === 3;
    assert.deepEqual(rig.recalled(), isUntouched ? { a: originOf(2) } : {}, `change ${index}`);
  }
});

test("what the source changes is recorded anew, what it removes is forgotten", async (context) => {
  const rig = new MemoryRig(context);
  for (const [node, name] of ["a", "b", "c"].entries()) rig.remembered(2 + node, name);
  rig.folderNode(5, "d");
  rig.send((w) => w.origin(5, 55, 1, 0, 0));
  rig.memory.committed(lateMs);
  await rig.rest();
  const folder = { ino: 55, gen: 1, ctimeSec: 0, ctimeNsec: 0 };
  assert.deepEqual(rig.recalled(), { a: originOf(2), b: originOf(3), c: originOf(4), d: folder });
  rig.send(
    (w) => w.rename(rootId, bytesOf("a"), 5, bytesOf("a2"), 0),
    (w) => w.timesWithOrigin(3, 77, 0, sec + 9, 8),
    (w) => w.unlink(rootId, bytesOf("c")),
    // As for every folder that something was put into.
    (w) => w.times(5, 5, 5),
  );
  rig.memory.committed(lateMs);
  await rig.rest();
  assert.deepEqual(rig.recalled(), {
    "d/a2": originOf(2),
    b: { ...originOf(3), ctimeSec: sec + 9, ctimeNsec: 8 },
    d: folder,
  });
});

test("a file that is not what the tree says is not recorded", async (context) => {
  const rig = new MemoryRig(context);
  rig.remembered(2, "a");
  rig.remembered(3, "b");
  fs.appendFileSync(rig.path("a"), "by somebody else");
  fs.rmSync(rig.path("b"));
  fs.mkdirSync(rig.path("b"));
  rig.memory.committed(lateMs);
  await rig.close();
  assert.deepEqual(rig.recalled(), {});
  assert.deepEqual(rig.said, []);
});

test("at the end all of whole epochs is recorded, but nothing of just now", async (context) => {
  const rig = new MemoryRig(context, native(), Date.now());
  rig.remembered(2, "a");
  rig.memory.committed(lateMs);
  rig.remembered(3, "b");
  const closing = rig.memory.close(true);
  await rig.turns();
  assert.deepEqual(rig.recalled(), {}, "the kernel's clock may not have moved since");
  rig.clock.advance(30);
  await rig.turns();
  await closing;
  assert.deepEqual(rig.recalled(), { a: originOf(2) }, "b is of no whole epoch");
});

test("when the source is lost, what it changed just before is in doubt", async (context) => {
  for (const isOrderly of [true, false]) {
    const rig = new MemoryRig(context);
    rig.remembered(2, "a");
    // Cut half a second after the file was changed.
    rig.memory.committed(sec * 1000 + 500);
    await rig.close(isOrderly);
    const { ino, gen } = originOf(2);
    const doubt = { ino, gen, ctimeSec: 0, ctimeNsec: 0 };
    assert.deepEqual(rig.recalled(), { a: isOrderly ? originOf(2) : doubt });
  }
  const rig = new MemoryRig(context);
  rig.remembered(2, "a");
  rig.memory.committed(lateMs);
  await rig.close(false);
  assert.deepEqual(rig.recalled(), { a: originOf(2) }, "changed an hour before the cut");
});

test("a full disk costs the index alone, and is told once", async (context) => {
  const full = Object.create(native(), { pwrite: { value: () => -Errno.ENOSPC } }) as Files;
  const rig = new MemoryRig(context, full);
  for (let node = 2; node < 200; node++) rig.remembered(node, `f${node}`);
  rig.memory.committed(lateMs);
  await rig.rest();
  rig.remembered(200, "last");
  rig.memory.committed(lateMs);
  await rig.close();
  assert.equal(rig.said.length, 1);
  assert.match(rig.said[0]!, /^the index index cannot be written \(ENOSPC\), and is done without/);
  assert.deepEqual(rig.recalled(), {});
});
