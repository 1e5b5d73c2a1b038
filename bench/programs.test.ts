/**
 * Tests of the judges themselves: a stopwatch or a comparison that is wrong would make every
 * product look right. They need gcc and make, and are skipped without.
 */
import assert from "node:assert/strict";
import { appendFile, link, mkdir, mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { exists, ProcessError, sleep, start } from "./processes.ts";
import {
  buildPrograms,
  compareTrees,
  loadStream,
  loadWrites,
  makeTree,
  measureOverhead,
  stopwatch,
  type StopwatchOptions,
} from "./programs.ts";

const canBuild = (await exists("gcc", ["--version"])) && (await exists("make", ["--version"]));
const options = { skip: canBuild ? false : "needs gcc and make" };
if (canBuild) await buildPrograms();

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "lockstep-bench-test-"));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function watch(folder: string, changes: Partial<StopwatchOptions>) {
  return stopwatch({
    ...{ source: join(folder, "source"), target: join(folder, "target"), sizeBytes: 128 },
    ...{ count: 20, warmup: 2, paceUs: 1000, jitterUs: 0, offset: "random" },
    ...{ timeoutMs: 2000, readyMs: 10_000, ...changes },
  });
}

test("the stopwatch sees what is there at once, with a sample for each record", options, () =>
  inFolder(async (folder) => {
    await writeFile(join(folder, "source"), Buffer.alloc(4096));
    // Two names of one inode: the fastest product imaginable.
    await link(join(folder, "source"), join(folder, "target"));
    const result = await watch(folder, {});
    assert.equal(result.samples.length, 20);
    assert.equal(result.blinds.length, 20);
    assert.equal(result.lost, 0);
  }),
);

test("the stopwatch follows a target that is replaced by rename", options, () =>
  inFolder(async (folder) => {
    await writeFile(join(folder, "source"), Buffer.alloc(4096));
    const script = `cd "$1"; while :; do cp source part; mv part target; sleep 0.005; done`;
    const copier = start("sh", ["-c", script, "copier", folder]);
    try {
      const { samples, lost } = await watch(folder, { count: 5, timeoutMs: 10_000 });
      assert.equal(samples.length, 5);
      assert.equal(lost, 0);
    } finally {
      await copier.end();
    }
  }),
);

test("the stopwatch survives a target that shrinks while it is looked at", options, () =>
  inFolder(async (folder) => {
    await writeFile(join(folder, "source"), Buffer.alloc(65_536));
    await writeFile(join(folder, "target"), Buffer.alloc(65_536));
    const watching = watch(folder, { offset: 61_440, count: 1, warmup: 1, readyMs: 400 });
    // Long enough for the mapping to stand; sooner would only make the test weaker.
    await sleep(150);
    await truncate(join(folder, "target"), 4096);
    await assert.rejects(watching, /ended with 3/);
  }),
);

test("a target that never changes is refused, not measured", options, () =>
  inFolder(async (folder) => {
    await writeFile(join(folder, "source"), Buffer.alloc(4096));
    await writeFile(join(folder, "target"), Buffer.alloc(4096));
    await assert.rejects(watch(folder, { readyMs: 100 }), ProcessError);
  }),
);

test("trees are equal only byte by byte, and surplus files are counted", options, () =>
  inFolder(async (folder) => {
    const [source, target] = [join(folder, "a"), join(folder, "b")];
    await mkdir(source);
    await mkdir(target);
    await makeTree(source, { files: 150, bytes: 300, mixed: true });
    assert.equal((await compareTrees(source, target, 0)).different, 150);
    // The generator is seeded, so the same call makes the same tree.
    await makeTree(target, { files: 150, bytes: 300, mixed: true });
    const equal = await compareTrees(source, target, 1000);
    assert.ok(equal.equalNs !== undefined && equal.equalNs > 0);
    assert.equal(equal.files, 150);
    await writeFile(join(target, "surplus"), "");
    assert.equal((await compareTrees(source, target, 0)).extra, 1);
    await appendFile(join(target, "d0001", "f000149"), "x");
    const longer = await compareTrees(source, target, 0);
    assert.equal(longer.equalNs, undefined);
    assert.equal(longer.different, 1);
  }),
);

test("the load generator writes what it was asked for", options, () =>
  inFolder(async (folder) => {
    await makeTree(folder, { files: 10, bytes: 4096, mixed: false });
    const load = { files: 10, bytes: 4096, perSecond: 5000, durationMs: 100 };
    assert.equal((await loadWrites(folder, load)).written, 500);
    const file = join(folder, "d0000", "f000000");
    await loadStream(file, 3_000_000);
    await loadStream(join(folder, "copy"), 3_000_000);
    assert.notEqual((await compareTrees(file, join(folder, "copy"), 0)).equalNs, undefined);
    const cost = await measureOverhead({ outside: file, inside: file }, { batches: 3, calls: 10 });
    for (const { wallNs, cpuNs } of Object.values(cost)) assert.ok(wallNs > 0 && cpuNs > 0);
  }),
);
