import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { native } from "../world/node/index.ts";
import { type Clock, Errno, FakeClock, type Files, Open } from "../world/index.ts";
import { folderLevelMax, SourceCount, type SourceCountOptions } from "./source-count.ts";

interface Counting {
  readonly root: string;
  readonly clock: FakeClock;
  readonly make: (options?: Partial<SourceCountOptions>) => SourceCount;
}

function counting(context: TestContext): Counting {
  const root = mkdtempSync(join(tmpdir(), "lockstep-count-"));
  const files = native();
  const clock = new FakeClock({ startUs: 0, wallStartMs: 0, eventsMax: 1000 });
  const rootFd = files.openPath(Buffer.from(root), Open.read | Open.directory);
  context.after(() => {
    files.close(rootFd);
    // By rm, as node:fs cannot remove what is deeper than PATH_MAX.
    execFileSync("rm", ["-rf", root], { cwd: tmpdir() });
  });
  const make = (options = {}): SourceCount => new SourceCount({ files, clock, rootFd, ...options });
  return { root, clock, make };
}

/** Until it is over, or `slices` have passed. Time stands still in a slice, so each is long. */
function run(count: SourceCount, clock: FakeClock, slices = 1000): void {
  for (let i = 0; i < slices && !count.isOver; i++) clock.advance(50);
}

function override(files: Files, some: Partial<Files>): Files {
  return { ...files, ...some };
}

function openCount(root: string): number {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(root);
    } catch {
      return false;
    }
  }).length;
}

test("regular files are counted, with holes, and hard links once", (t) => {
  const { root, clock, make } = counting(t);
  mkdirSync(join(root, "a/b"), { recursive: true });
  writeFileSync(join(root, "one"), "12345");
  writeFileSync(join(root, "a/b/two"), "1234567");
  linkSync(join(root, "a/b/two"), join(root, "a/link"));
  writeFileSync(join(root, "hole"), "");
  truncateSync(join(root, "hole"), 1_000_000);
  symlinkSync("one", join(root, "symlink"));
  writeFileSync(join(root, ".lockstep-hold.1"), "the target's own");
  const count = make();
  count.start();
  assert.equal(count.files, 0);
  run(count, clock);
  assert.deepEqual([count.isComplete, count.isOver], [true, true]);
  // Seven bytes in two parts, each without its rest.
  assert.deepEqual([count.files, count.bytes], [4, 5 + 6 + 1_000_000]);
  assert.equal(openCount(root), 1);
  assert.equal(clock.pendingCount, 0);
});

test("what may not be opened or is gone when its turn comes is left out", (t) => {
  const { root, clock, make } = counting(t);
  for (const name of ["closed", "gone", "moved", "seen"]) {
    mkdirSync(join(root, name));
    writeFileSync(join(root, name, "file"), name);
  }
  const real = native();
  let opened = 0;
  const files = override(real, {
    openBeneath: (fd: number, path: Uint8Array, flags: number, mode: number): number => {
      const name = Buffer.from(path).toString();
      if (name !== "" && ++opened === 1) {
        rmSync(join(root, "gone"), { recursive: true });
        renameSync(join(root, "moved"), join(root, "elsewhere"));
      }
      // Root may open everything, so the hole is made here.
      return name === "closed" ? -Errno.EACCES : real.openBeneath(fd, path, flags, mode);
    },
  });
  const count = make({ files });
  count.start();
  run(count, clock);
  assert.equal(count.isComplete, true);
  assert.equal(count.files, 1);
  assert.equal(openCount(root), 1);
});

test("a path longer than the kernel takes at once is counted", (t) => {
  const { root, clock, make } = counting(t);
  const files = native();
  const name = Buffer.from("n".repeat(250));
  let fd = files.openPath(Buffer.from(root), Open.read | Open.directory);
  for (let level = 0; level < 40; level++) {
    assert.equal(files.mkdir(fd, name, 0o700), 0);
    const next = files.openBeneath(fd, name, Open.read | Open.directory, 0);
    files.close(fd);
    fd = next;
  }
  const file = files.openBeneath(fd, Buffer.from("f"), Open.write | Open.create, 0o600);
  assert.equal(files.pwrite(file, Buffer.from("deep"), 0, 4, 0), 4);
  files.close(file);
  files.close(fd);
  const count = make();
  count.start();
  run(count, clock);
  assert.deepEqual([count.isComplete, count.files, count.bytes], [true, 1, 4]);
});

test("a tree deeper than the limit is never complete", (t) => {
  const { root, clock, make } = counting(t);
  mkdirSync(join(root, "a"));
  const real = native();
  // Every folder has itself in it.
  const files = override(real, {
    openBeneath: (fd: number, path: Uint8Array, flags: number, mode: number): number =>
      real.openBeneath(fd, path.subarray(0, 0), flags, mode),
  });
  const count = make({ files });
  count.start();
  run(count, clock, 10 * folderLevelMax);
  assert.deepEqual([count.isOver, count.isComplete], [true, false]);
  assert.equal(openCount(root), 1);
});

test("ignored files are not counted, rule files are", (t) => {
  const { root, clock, make } = counting(t);
  mkdirSync(join(root, "src/build"), { recursive: true });
  for (const path of ["a.log", "keep.log", "src/a.tmp", "src/b.c", "src/build/x", "big.tmp"]) {
    writeFileSync(join(root, path), "x");
  }
  writeFileSync(join(root, ".lockstepignore"), "*.log\n!keep.log\n");
  writeFileSync(join(root, "src/.lockstepignore"), "*.tmp\n");
  const ignore = { first: [], last: ["build/"], readsFiles: true };
  const count = make({ ignore });
  count.start();
  run(count, clock);
  // keep.log, big.tmp, src/b.c and both rule files.
  assert.deepEqual([count.isComplete, count.files], [true, 5]);
  const all = make({ ignore: { ...ignore, last: [], readsFiles: false } });
  all.start();
  run(all, clock);
  assert.equal(all.files, 8);
  mkdirSync(join(root, "odd/.lockstepignore"), { recursive: true });
  writeFileSync(join(root, "odd/x"), "x");
  writeFileSync(join(root, "src/.lockstepignore"), Buffer.alloc(2_000_000, "#"));
  const unusable = make({ ignore });
  unusable.start();
  run(unusable, clock);
  // Of src only its rule file, as all else of it is left alone; odd has no rules.
  assert.equal(unusable.files, 5);
});

test("it rests between slices, and ends at once when it is stopped", (t) => {
  const { root, clock, make } = counting(t);
  for (let i = 0; i < 20; i++) {
    mkdirSync(join(root, `d${i}`));
    writeFileSync(join(root, `d${i}`, "f"), "x");
  }
  const real = native();
  // Each batch takes as long as a slice may.
  const files = override(real, {
    scanDirectory: (fd: number, out: Uint8Array, brief: 0 | 1): number => {
      late += 2500;
      return real.scanDirectory(fd, out, brief);
    },
  });
  let late = 0;
  const slow: Clock = {
    monotonicUs: () => late,
    wallMs: () => clock.wallMs(),
    after: (delayMs, fire) => clock.after(delayMs, fire),
    defer: (fire) => clock.defer(fire),
  };
  const count = make({ files, clock: slow });
  count.start();
  run(count, clock, 10);
  assert.ok(count.files > 0 && count.files < 10, `${count.files}`);
  count.stop();
  assert.deepEqual([count.isOver, count.isComplete, clock.pendingCount], [true, false, 0]);
  assert.equal(openCount(root), 1);
  const { files: before } = count;
  run(count, clock, 10);
  assert.equal(count.files, before);
});
