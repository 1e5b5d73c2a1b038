import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { FakeClock, Open } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import { CutRig, Script } from "./cutter.fuzz.ts";
import { SourceCount } from "./source-count.ts";

type Amounts = CutRig["cutter"]["progress"];

function rigOf(context: TestContext): { rig: CutRig; script: Script } {
  const rig = new CutRig();
  context.after(() => rig.end());
  return { rig, script: new Script(rig) };
}

/** Begins, and stops at every `every`th question for room: what was done by then. */
function seed(rig: CutRig, every: number): Amounts[] {
  rig.start();
  const seen: Amounts[] = [];
  let asked = 0;
  rig.onRoom = () => {
    if (++asked % every === 0) rig.isPaused = true;
  };
  for (let i = 0; i < 5000; i++) {
    rig.settle();
    seen.push(rig.cutter.progress);
    if (!rig.isPaused) break;
    rig.isPaused = false;
  }
  rig.onRoom = () => {};
  assert.equal(rig.epochs.filter(({ live }) => live).length, 1);
  for (let i = 1; i < seen.length; i++) {
    assert.ok(seen[i]!.filesDone >= seen[i - 1]!.filesDone, "files");
    assert.ok(seen[i]!.contentBytes >= seen[i - 1]!.contentBytes, "bytes");
  }
  return seen;
}

/** As the walker beside a sync counts it. */
function count(rig: CutRig): Amounts {
  const clock = new FakeClock({ startUs: 0, wallStartMs: 0, eventsMax: 1000 });
  const files = native();
  const rootFd = files.openPath(Buffer.from(rig.source), Open.read | Open.directory);
  const walker = new SourceCount({ files, clock, rootFd, ignore: rig.ignore });
  walker.start();
  for (let i = 0; i < 100 && !walker.isOver; i++) clock.advance(50);
  files.close(rootFd);
  assert.ok(walker.isComplete);
  return { filesDone: walker.files, contentBytes: walker.bytes };
}

test("bytes of one large file are told while it is sent", (context) => {
  const { rig, script } = rigOf(context);
  script.create("large", Buffer.alloc(3_000_000, 7));
  const seen = seed(rig, 3);
  const between = seen.filter(({ contentBytes: bytes }) => bytes > 0 && bytes < 3_000_000);
  assert.ok(between.length >= 5, `${between.length}`);
  assert.ok(between.every(({ filesDone }) => filesDone === 0));
  assert.deepEqual(seen.at(-1), { filesDone: 1, contentBytes: 3_000_000 });
});

test("a tree of every kind ends at what is counted, as does its restart", (context) => {
  const { rig, script } = rigOf(context);
  rig.ignore = { first: [], last: ["*.log"], readsFiles: true };
  for (const folder of ["a", "a/b", "c"]) script.mkdir(folder);
  for (let i = 0; i < 300; i++) script.create(`a/b/f${i}`, `${i}`);
  script.create("c/large", Buffer.alloc(1_000_000, 1));
  script.link("c/large", "a/link");
  script.link("c/large", "c/link");
  script.create("c/.lockstepignore", "*.tmp\n");
  for (const name of ["a/x.log", "c/y.tmp", "a/z.tmp"]) script.create(name, "text");
  fs.symlinkSync("large", join(rig.source, "c/symlink"));
  const counted = count(rig);
  assert.equal(counted.filesDone, 300 + 3 + 1 + 1);
  const seen = seed(rig, 7);
  assert.ok(seen.length > 20);
  assert.deepEqual(seen.at(-1), counted);
  const again = rigOf(context).rig;
  again.ignore = rig.ignore;
  for (const side of ["source", "target"] as const) {
    execFileSync("cp", ["-a", `${rig[side]}/.`, again[side]]);
  }
  assert.deepEqual(seed(again, 7).at(-1), counted);
  assert.equal(again.epochs[0]!.dataBytes, 0);
});

test("files that differ are told as they are compared and sent", (context) => {
  const { rig, script } = rigOf(context);
  rig.deltaBytesMin = 1000;
  // Asks have room, and are answered at once.
  rig.pick = (count) => (count === 10 ? 5 : 0);
  for (let i = 0; i < 10; i++) {
    const content = Buffer.alloc(400_000);
    for (let at = 0; at < content.length; at++) content[at] = (at * (i + 3) * 7919) >> 8;
    script.create(`f${i}`, content);
  }
  execFileSync("cp", ["-r", `${rig.source}/.`, rig.target]);
  for (let i = 0; i < 10; i++) {
    const fd = fs.openSync(join(rig.source, `f${i}`), "r+");
    fs.writeSync(fd, "changed", 200_000 + i);
    fs.closeSync(fd);
  }
  const seen = seed(rig, 5);
  const whole = { filesDone: 10, contentBytes: 4_000_000 };
  assert.ok(seen.some(({ contentBytes: bytes }) => bytes > 0 && bytes % 400_000 > 0));
  assert.deepEqual(seen.at(-1), whole);
  assert.deepEqual(count(rig), whole);
});
