/** Cuts of files that are written again and again while they are read. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { HotOutcome } from "../capture/index.ts";
import { CutRig, type Epoch, Script, sequence } from "./cutter.fuzz.ts";
import { roundCountMax } from "./limits.ts";

const pageBytes = 8192;
const pageCount = 2;

/**
 * Two files of pages that are written in turn, each with the number of the write: page 0 of `a`,
 * page 0 of `b`, page 1 of `a`, and so on for ever. Any past state has a number in each page that
 * follows from the largest one.
 */
class Turns {
  readonly rig: CutRig = new CutRig();
  readonly script: Script = new Script(this.rig);
  written = 0;
  /** Committed as clean, and not a past state. */
  readonly wrong: string[] = [];
  hotCount = 0;

  constructor(context: TestContext, readsHot: boolean) {
    const { rig, script } = this;
    context.after(() => rig.end());
    rig.readsHot = readsHot;
    rig.isHeld = true;
    for (const name of ["a", "b"]) script.create(name, new Uint8Array(pageBytes * pageCount));
    rig.start();
    rig.settle();
    rig.onHot = ({ outcome }) => void (this.hotCount += outcome === HotOutcome.closed ? 1 : 0);
    rig.onCommit = () => {
      const why = this.#wrongIn(rig.target);
      if (why !== undefined && !rig.epochs.at(-1)!.fuzzy) this.wrong.push(why);
    };
  }

  write(): void {
    const turn = this.written++ % (2 * pageCount);
    const page = Buffer.alloc(pageBytes);
    page.writeUInt32LE(this.written, 0);
    page.writeUInt32LE(this.written, pageBytes - 4);
    this.script.write(turn % 2 === 0 ? "a" : "b", (turn >> 1) * pageBytes, page);
  }

  #wrongIn(folder: string): string | undefined {
    const [a, b] = ["a", "b"].map((name) => fs.readFileSync(join(folder, name)));
    const numbers = Array.from({ length: 2 * pageCount }, (_, turn) => {
      const file = turn % 2 === 0 ? a! : b!;
      return file.readUInt32LE((turn >> 1) * pageBytes);
    });
    const last = Math.max(...numbers);
    const wanted = numbers.map((_, turn) => {
      const behind = (((last - 1 - turn) % numbers.length) + numbers.length) % numbers.length;
      return Math.max(0, last - behind);
    });
    return numbers.join() === wanted.join() ? undefined : `${numbers.join()}, not ${wanted.join()}`;
  }

  /** Writes all pages just before drains, with this chance in a hundred; gives the epochs. */
  run(count: number, chance: number): readonly Epoch[] {
    const { rig } = this;
    const before = rig.epochs.length;
    const pick = sequence(7);
    const writeAll = (): void => {
      for (let left = 2 * pageCount; left > 0; left--) this.write();
    };
    rig.onDrain = () => {
      if (this.written < count && pick(100) < chance) writeAll();
    };
    while (this.written < count) {
      writeAll();
      rig.settle();
    }
    rig.onDrain = () => {};
    rig.settle();
    return rig.epochs.slice(before);
  }
}

const fuzzyCount = (epochs: readonly Epoch[]): number => epochs.filter(({ fuzzy }) => fuzzy).length;

test("cuts close between writers that seldom rest", async (context) => {
  for (const readsHot of [false, true]) {
    const turns = new Turns(context, readsHot);
    const epochs = turns.run(4000, 75);
    assert.deepEqual(turns.wrong, [], "what is told to be clean is a past state");
    await turns.rig.assertEqual("when all has been written");
    const about = `${fuzzyCount(epochs)} of ${epochs.length} are fuzzy, ${turns.hotCount} hot`;
    context.diagnostic(about);
    if (readsHot) assert.equal(fuzzyCount(epochs), 0, about);
    else assert.ok(fuzzyCount(epochs) > 0, `without it there is nothing to show: ${about}`);
    if (readsHot) assert.ok(turns.hotCount > 0);
  }
});

test("writers who never rest make fuzzy epochs, and are not followed for ever", async (context) => {
  const turns = new Turns(context, true);
  const epochs = turns.run(2000, 100);
  assert.deepEqual(turns.wrong, []);
  await turns.rig.assertEqual("when all has been written");
  assert.ok(fuzzyCount(epochs) > 0);
  assert.ok(turns.rig.cutter.counters.rounds <= epochs.length * roundCountMax + epochs.length);
});

test("what else is told while hot extents are read is not left out", async (context) => {
  const changes: [string, (turns: Turns) => void][] = [
    ["another file is written", ({ script }) => script.write("c", 0, Buffer.from("changed"))],
    ["another file is made", ({ script }) => script.create("d", "new")],
    ["its mode changes", ({ script }) => script.chmod("a", 0o600)],
    ["it is cut", ({ script }) => script.truncate("a", 3 * pageBytes)],
    ["it is renamed", ({ script }) => script.rename("a", "e")],
    ["it is removed", ({ script }) => script.unlink("a")],
    ["it grows", ({ script }) => script.append("a", Buffer.alloc(20_000, 7), true)],
    ["records are lost", ({ rig }) => rig.tell((sink) => sink.overflow())],
  ];
  for (const [name, change] of changes) {
    const turns = new Turns(context, true);
    const { rig, script } = turns;
    script.create("c", "before");
    rig.settle();
    rig.onCommit = () => {};
    let isDone = false;
    let count = 0;
    rig.onRoom = () => {
      if (!rig.isReadingHot && count++ < 2) script.write("a", 0, Buffer.alloc(pageBytes, count));
      if (!rig.isReadingHot || isDone) return;
      isDone = true;
      change(turns);
    };
    script.write("a", 0, Buffer.alloc(pageBytes, 9));
    const epochs = rig.settle();
    assert.ok(isDone, name);
    assert.equal(fuzzyCount(epochs), 0, name);
    rig.onRoom = () => {};
    rig.settle();
    await rig.assertEqual(name);
  }
});

test("a file that was hot is told to be in doubt until it rests", async (context) => {
  const rig = new CutRig();
  const script = new Script(rig);
  context.after(() => rig.end());
  rig.readsHot = true;
  rig.takesOrigins = true;
  script.create("a", Buffer.alloc(pageBytes, 1));
  rig.start();
  rig.settle();
  const node = rig.nodeAt("a");
  assert.ok(rig.targetOrigins.hasChangeTime(node));
  let count = 0;
  rig.onRoom = () => {
    if (count++ < 2) script.write("a", 0, Buffer.alloc(pageBytes, 1 + count));
  };
  script.write("a", 0, Buffer.alloc(pageBytes, 9));
  rig.settle();
  assert.equal(rig.cutter.counters.hotEpochs, 1);
  assert.ok(!rig.targetOrigins.hasChangeTime(node), "a write may be under way");
  rig.onRoom = () => {};
  rig.settle();
  assert.ok(!rig.targetOrigins.hasChangeTime(node), "it has not rested yet");
  rig.timeUs += 2_000_000;
  rig.settle();
  assert.ok(rig.targetOrigins.hasChangeTime(node));
  rig.checkOrigins();
  await rig.assertEqual("at the end");
});

test("sparse files, and more than one reading takes, are read as ever", async (context) => {
  for (const [name, bytes, at] of [
    ["sparse", 1 << 20, 0],
    ["large", 18 << 20, 17 << 20],
  ] as const) {
    const rig = new CutRig();
    const script = new Script(rig);
    context.after(() => rig.end());
    rig.readsHot = true;
    if (name === "large") script.create("a", Buffer.alloc(bytes, 1));
    else {
      script.create("a", "");
      script.truncate("a", bytes);
    }
    rig.start();
    rig.settle();
    let count = 0;
    rig.onRoom = () => {
      if (count++ < 3) script.write("a", 0, Buffer.alloc(at === 0 ? pageBytes : at, count));
    };
    script.write("a", 0, Buffer.alloc(at === 0 ? pageBytes : at, 9));
    const epochs = rig.settle();
    assert.equal(fuzzyCount(epochs), 0, name);
    assert.equal(rig.cutter.counters.hotEpochs, 0, name);
    await rig.assertEqual(name);
  }
});
