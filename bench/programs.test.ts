/**
 * Tests of the judges themselves: a stopwatch or a comparison that is wrong would make every
 * product look right. They need gcc and make, and are skipped without.
 */
import assert from "node:assert/strict";
import {
  appendFile,
  copyFile,
  link,
  mkdir,
  mkdtemp,
  readdir,
  readlink,
  rename,
  rm,
  stat,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { exists, ProcessError, sleep, start } from "./processes.ts";
import {
  buildPrograms,
  compareTrees,
  loadStream,
  loadWrites,
  makeEmptyTree,
  makeMixedTree,
  makeTree,
  measureOverhead,
  program,
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
    const shape = { files: 150, bytesMin: 0, bytesMax: 300 };
    await makeMixedTree(source, shape);
    assert.equal((await compareTrees(source, target, 0)).different, 150);
    // The generator is seeded, so the same call makes the same tree.
    await makeMixedTree(target, shape);
    const equal = await compareTrees(source, target, 1000);
    assert.ok(equal.equalNs !== undefined && equal.equalNs > 0);
    assert.equal(equal.files, 150);
    await writeFile(join(target, "surplus"), "");
    assert.equal((await compareTrees(source, target, 0)).extra, 1);
    await appendFile(join(target, "d0000", "f000007"), "x");
    const longer = await compareTrees(source, target, 0);
    assert.equal(longer.equalNs, undefined);
    assert.equal(longer.different, 1);
  }),
);

/** The clock that programs of the bench print moments of. */
const monotonicNs = () => Number(process.hrtime.bigint());

/** Longer than the kernel's clock for ctime can be behind, and than the judge rounds up by. */
const ticksMs = 40;

/** A source and a target with the same 60 files, at rest for some ticks. */
async function equalPair(folder: string) {
  const [source, target] = [join(folder, "a"), join(folder, "b")];
  const beganNs = monotonicNs();
  for (const root of [source, target]) {
    await mkdir(root);
    await makeTree(root, { files: 60, bytes: 3000 });
  }
  await sleep(ticksMs);
  return { source, target, beganNs, restedNs: monotonicNs() };
}

test("trees are equal since their last change, not since somebody looked", options, () =>
  inFolder(async (folder) => {
    const { source, target, beganNs, restedNs } = await equalPair(folder);
    const { equalNs = 0, foundNs = 0 } = await compareTrees(source, target, 0);
    assert.ok(beganNs < equalNs, "not before the trees were there");
    assert.ok(equalNs < restedNs, "when they came to rest");
    assert.ok(restedNs < foundNs, "which is seen later");
  }),
);

const laterChanges: Readonly<Record<string, (target: string, source: string) => Promise<void>>> = {
  "the times of a file": (target) => utimes(join(target, "d0000", "f000003"), 1, 1),
  "a file that was replaced by rename": (target) =>
    rename(join(target, "part"), join(target, "d0000", "f000003")),
  "a directory that was renamed": (target) => rename(join(target, "other"), join(target, "d0000")),
  "a file that is too many": (target) => writeFile(join(target, "surplus"), ""),
  "the source": (_target, source) => utimes(join(source, "d0000", "f000003"), 1, 1),
};

for (const [name, change] of Object.entries(laterChanges)) {
  test(`the last change counts, also when it leaves all bytes as they are: ${name}`, options, () =>
    inFolder(async (folder) => {
      const { source, target } = await equalPair(folder);
      // What some of the changes need: old by the time of the change itself.
      if (name.includes("replaced")) {
        await copyFile(join(source, "d0000", "f000003"), join(target, "part"));
      }
      if (name.includes("directory")) await rename(join(target, "d0000"), join(target, "other"));
      await sleep(ticksMs);
      const beforeNs = monotonicNs();
      await sleep(ticksMs);
      await change(target, source);
      const { equalNs = 0, foundNs = 0 } = await compareTrees(source, target, 0);
      assert.ok(beforeNs < equalNs && equalNs <= foundNs);
    }),
  );
}

/** A judge that waits for one file, which is at `late` in the folder until then. */
async function waitingJudge(folder: string) {
  const { source, target } = await equalPair(folder);
  const late = join("d0000", "f000030");
  await rename(join(target, late), join(folder, "late"));
  const judge = start(program("treecmp"), [source, target, "20000"]);
  await waitOpen(judge.pid, join(source, late));
  return { source, target, late, judge };
}

test("what becomes equal while it is waited for is equal from then on", options, () =>
  inFolder(async (folder) => {
    const { target, late, judge } = await waitingJudge(folder);
    const beforeNs = monotonicNs();
    await sleep(ticksMs);
    await rename(join(folder, "late"), join(target, late));
    const line = await judge.waitFor((printed) => printed, 30_000);
    const { equalNs, foundNs } = JSON.parse(line) as { equalNs: number; foundNs: number };
    assert.ok(beforeNs < equalNs && equalNs <= foundNs);
  }),
);

test("a source that changes while it is compared is refused, not judged", options, () =>
  inFolder(async (folder) => {
    const { source, target, late, judge } = await waitingJudge(folder);
    // Not into the file that it waits for, and to the same bytes: only the time of it tells.
    await sleep(ticksMs);
    await utimes(join(source, "d0000", "f000001"), 1, 1);
    await rename(join(folder, "late"), join(target, late));
    assert.equal(await judge.exited(30_000), 2);
  }),
);

test("trees that differ have no moment of equality", options, () =>
  inFolder(async (folder) => {
    const { source, target } = await equalPair(folder);
    await truncate(join(target, "d0000", "f000003"), 0);
    const { equalNs, foundNs, different } = await compareTrees(source, target, 50);
    assert.deepEqual({ equalNs, foundNs }, { equalNs: undefined, foundNs: undefined });
    assert.equal(different, 1);
  }),
);

/** Resolves when process `pid` has `path` open: then it has begun, and waits at that file. */
async function waitOpen(pid: number, path: string): Promise<void> {
  for (let attempt = 0; attempt < 1000; attempt += 1) {
    for (const fd of await readdir(`/proc/${pid}/fd`)) {
      const open = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => "");
      if (open === path) return;
    }
    await sleep(5);
  }
  assert.fail(`${path} was never opened`);
}

test("a mixed tree has files of the sizes and folders of the counts that it says", options, () =>
  inFolder(async (folder) => {
    await makeMixedTree(folder, { files: 500, bytesMin: 2048, bytesMax: 4096 });
    const { sizes, counts } = await sizesAndCounts(folder);
    assert.equal(sizes.length, 500);
    assert.ok(sizes.every((size) => size >= 2048 && size <= 4096));
    assert.ok(new Set(sizes).size > 100, "they differ");
    assert.ok(counts.every((count) => count <= 100));
    // The last folder has what is left.
    assert.ok(counts.slice(0, -1).every((count) => count >= 20));
    assert.ok(counts.length > 5 && new Set(counts).size > 2);
  }),
);

test("an empty tree has a thousand files to a folder, and nothing in them", options, () =>
  inFolder(async (folder) => {
    await makeEmptyTree(folder, 2100);
    const { sizes, counts } = await sizesAndCounts(folder);
    assert.deepEqual(counts, [1000, 1000, 100]);
    assert.equal(Math.max(...sizes), 0);
  }),
);

async function sizesAndCounts(root: string) {
  const sizes: number[] = [];
  const counts: number[] = [];
  for (const folder of (await readdir(root)).toSorted()) {
    const names = await readdir(join(root, folder));
    counts.push(names.length);
    for (const name of names) sizes.push((await stat(join(root, folder, name))).size);
  }
  return { sizes, counts };
}

test("the load generator writes what it was asked for", options, () =>
  inFolder(async (folder) => {
    await makeTree(folder, { files: 10, bytes: 4096 });
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
