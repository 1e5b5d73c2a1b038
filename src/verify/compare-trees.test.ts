/**
 * The judge finds each kind of difference on the real filesystem, exactly, and nothing else.
 * Copies are made by `cp -a`, which shares no code with anything here. Root-only cases say so.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { native, nodeWorld } from "../world/node/index.ts";
import { Errno, Open, Stat, statSlots } from "../world/index.ts";
import type { Clock, Files } from "../world/index.ts";
import {
  compareTrees,
  compareWithRemote,
  DifferenceKind,
  escapeBytes,
  formatDifference,
  TreeReader,
} from "./index.ts";
import type { CompareOptions, CompareReporter, CompareSummary } from "./index.ts";

const files: Files = native();
const clock: Clock = nodeWorld({ write: () => {} }).clock;
const isRoot = process.getuid?.() === 0;
const onlyRoot = isRoot ? false : "needs root";
const noName = new Uint8Array(0);

interface Pair {
  readonly base: string;
  readonly source: string;
  readonly target: string;
  /** Makes target a copy of source. */
  copy(): void;
  compare(options?: Partial<Settings>): Promise<CompareSummary>;
}

interface Settings extends CompareOptions {
  files: Files;
  report: CompareReporter;
}

function makePair(context: { after(fn: () => void): void }): Pair {
  const base = fs.mkdtempSync(join(tmpdir(), "lockstep-verify-"));
  // rm, as node:fs cannot remove what is deeper than PATH_MAX.
  context.after(() => execFileSync("rm", ["-rf", base]));
  const [source, target] = [join(base, "source"), join(base, "target")];
  fs.mkdirSync(source);
  return {
    base,
    source,
    target,
    copy: () => {
      execFileSync("rm", ["-rf", target]);
      execFileSync("cp", ["-a", source, target]);
    },
    compare: (options) => compare(source, target, options),
  };
}

async function compare(source: string, target: string, options: Partial<Settings> = {}) {
  const open = (path: string): number => {
    const fd = files.openPath(Buffer.from(path), Open.read | Open.directory);
    assert.ok(fd >= 0, `cannot open ${path}`);
    return fd;
  };
  const [sourceFd, targetFd] = [open(source), open(target)];
  try {
    const ignore = new Set<DifferenceKind>();
    const common = { clock, content: true, ignore, settleMs: 0, differenceCountMax: 100 };
    const used = { ...common, ...options };
    const its = options.files ?? files;
    const summary = await compareTrees(its, sourceFd, targetFd, used, options.report ?? {});
    const isPlain = Object.keys(options).every((key) => key in common || key === "rules");
    if (isPlain) await compareAlike(sourceFd, targetFd, used, summary);
    return summary;
  } finally {
    files.close(sourceFd);
    files.close(targetFd);
  }
}

/** A target that is asked, as over a link, gives the same. */
async function compareAlike(
  sourceFd: number,
  targetFd: number,
  options: CompareOptions,
  expected: CompareSummary,
): Promise<void> {
  const sha256 = (...parts: readonly Uint8Array[]): Uint8Array => {
    const hash = createHash("sha256");
    for (const part of parts) hash.update(part);
    return hash.digest();
  };
  const remote = new TreeReader(files, targetFd, {
    sha256,
    salt: Buffer.from("salt"),
    nowUs: () => clock.monotonicUs(),
    pause: () => Promise.resolve(false),
  });
  const summary = await compareWithRemote(files, sourceFd, remote, options, {});
  const { counts, entryCount, mountPointCount, clean, cancelled } = expected;
  assert.deepEqual(
    { ...summary, entryCount, mountPointCount, clean, cancelled },
    summary,
    "the sums are the same",
  );
  // Names come in another order, and so one or the other of two links is the odd one.
  assert.equal(summary.counts.hardLink > 0, counts.hardLink > 0);
  if (counts.hardLink > 0 || expected.findingCount > options.differenceCountMax) return;
  assert.deepEqual(found(summary), found(expected));
}

/** `kind path` of each finding, sorted. */
function found(summary: CompareSummary): string[] {
  return summary.differences
    .map((d) => `${d.kind} ${Buffer.from(d.path).toString("latin1")}`)
    .sort();
}

/** Runs `change` and puts the modification time of `path` back, to the nanosecond. */
function keepTime(path: string | Buffer, change: () => void): void {
  const name = Buffer.from(path);
  const stat = new Float64Array(statSlots);
  assert.equal(files.statAt(0, name, stat), 0);
  change();
  assert.equal(files.setTimes(0, name, stat[Stat.mtimeSec] ?? 0, stat[Stat.mtimeNsec] ?? 0), 0);
}

function addNanosecond(path: string | Buffer): void {
  const name = Buffer.from(path);
  const stat = new Float64Array(statSlots);
  assert.equal(files.statAt(0, name, stat), 0);
  const nsec = ((stat[Stat.mtimeNsec] ?? 0) + 1) % 1e9;
  assert.equal(files.setTimes(0, name, stat[Stat.mtimeSec] ?? 0, nsec), 0);
}

function setAttribute(path: string | Buffer, name: string, value: string | Buffer): void {
  const fd = files.openPath(Buffer.from(path), Open.path);
  assert.ok(fd >= 0);
  assert.equal(files.setAttribute(fd, noName, Buffer.from(name), Buffer.from(value)), 0);
  files.close(fd);
}

/** One of everything that needs no privilege. */
function fillSource(pair: Pair): void {
  const at = (name: string): string => join(pair.source, name);
  fs.mkdirSync(at("dir"));
  fs.writeFileSync(at("dir/file"), "hello");
  fs.writeFileSync(at("dir/linked"), "one inode");
  fs.linkSync(at("dir/linked"), at("other name"));
  fs.writeFileSync(at("empty"), "");
  fs.symlinkSync("dir/file", at("symlink"));
  execFileSync("mkfifo", [at("pipe")]);
}

test("equal trees are clean, and every name is looked at", async (t) => {
  const pair = makePair(t);
  fillSource(pair);
  pair.copy();
  const summary = await pair.compare();
  assert.deepEqual(found(summary), []);
  assert.equal(summary.clean, true);
  assert.equal(summary.entryCount, 8);
  assert.equal(summary.contentBytes, "hello".length + 2 * "one inode".length);
});

const cases: readonly {
  readonly what: string;
  readonly expected: readonly string[];
  readonly skip?: false | string;
  readonly change: (at: (name: string) => string) => void;
}[] = [
  {
    what: "missing",
    expected: ["missing dir", "mtime ."],
    change: (at) => fs.rmSync(at("dir"), { recursive: true }),
  },
  {
    what: "extra",
    expected: ["extra dir/new", "mtime dir"],
    change: (at) => fs.writeFileSync(at("dir/new"), ""),
  },
  {
    what: "kind",
    expected: ["kind empty"],
    change: (at) =>
      keepTime(at("."), () => {
        fs.rmSync(at("empty"));
        fs.mkdirSync(at("empty"));
      }),
  },
  {
    what: "size",
    expected: ["size dir/file"],
    change: (at) => keepTime(at("dir/file"), () => fs.appendFileSync(at("dir/file"), "!")),
  },
  {
    what: "content",
    expected: ["content dir/file"],
    change: (at) => keepTime(at("dir/file"), () => fs.writeFileSync(at("dir/file"), "hellO")),
  },
  { what: "mode", expected: ["mode pipe"], change: (at) => fs.chmodSync(at("pipe"), 0o601) },
  {
    what: "set-group-id of a directory",
    expected: ["mode dir"],
    change: (at) => fs.chmodSync(at("dir"), 0o2755),
  },
  {
    what: "user",
    expected: ["owner symlink"],
    skip: onlyRoot,
    change: (at) => fs.lchownSync(at("symlink"), 12345, 0),
  },
  {
    what: "group",
    expected: ["owner dir"],
    skip: onlyRoot,
    change: (at) => fs.chownSync(at("dir"), 0, 12345),
  },
  {
    what: "mtime of a file",
    expected: ["mtime empty"],
    change: (at) => addNanosecond(at("empty")),
  },
  {
    what: "mtime of a directory",
    expected: ["mtime dir"],
    change: (at) => addNanosecond(at("dir")),
  },
  {
    what: "mtime of a symbolic link",
    expected: ["mtime symlink"],
    change: (at) => addNanosecond(at("symlink")),
  },
  { what: "mtime of the root", expected: ["mtime ."], change: (at) => addNanosecond(at(".")) },
  {
    what: "symbolic link",
    expected: ["symlink symlink"],
    change: (at) =>
      keepTime(at("."), () =>
        keepTime(at("symlink"), () => {
          fs.rmSync(at("symlink"));
          fs.symlinkSync("dir/filE", at("symlink"));
        }),
      ),
  },
  {
    what: "attributes",
    expected: ["attributes dir"],
    change: (at) => setAttribute(at("dir"), "user.lockstep", "x"),
  },
  {
    what: "access control list",
    expected: ["attributes dir/file"],
    change: (at) => execFileSync("setfacl", ["-m", "u:12345:r,m::r", at("dir/file")]),
  },
  {
    what: "default access control list",
    expected: ["attributes dir"],
    change: (at) => execFileSync("setfacl", ["-d", "-m", "u:12345:r", at("dir")]),
  },
  {
    what: "file capability",
    expected: ["attributes empty"],
    skip: onlyRoot,
    change: (at) => {
      const value = Buffer.from("0100000200040000000000000000000000000000", "hex");
      setAttribute(at("empty"), "security.capability", value);
    },
  },
];

for (const { what, expected, skip, change } of cases) {
  test(`finds exactly: ${what}`, { skip: skip ?? false }, async (t) => {
    const pair = makePair(t);
    fillSource(pair);
    pair.copy();
    change((name) => join(pair.target, name));
    const summary = await pair.compare();
    assert.deepEqual(found(summary), expected);
    assert.equal(summary.differenceCount, expected.length);
    assert.equal(summary.clean, false);
    const counted = Object.values(summary.counts).reduce((sum, count) => sum + count, 0);
    assert.equal(counted, expected.length);
  });
}

test("finds a hard link that became a copy, and two files that became one", async (t) => {
  const pair = makePair(t);
  const at = (name: string): string => join(pair.source, name);
  for (const name of ["a", "b"]) fs.writeFileSync(at(name), "same");
  fs.linkSync(at("a"), at("a2"));
  execFileSync("touch", ["-d", "@1000000000.5", at("a"), at("b")]);
  pair.copy();
  assert.deepEqual(found(await pair.compare()), []);

  const target = (name: string): string => join(pair.target, name);
  keepTime(target("."), () => {
    execFileSync("cp", ["-a", target("a2"), target("new")]);
    fs.renameSync(target("new"), target("a2"));
  });
  const broken = found(await pair.compare());
  assert.equal(broken.length, 1);
  assert.match(broken[0] ?? "", /^hardLink (a|a2)$/);

  pair.copy();
  keepTime(target("."), () => {
    fs.rmSync(target("b"));
    fs.linkSync(target("a"), target("b"));
  });
  const joined = found(await pair.compare());
  assert.ok(
    joined.length >= 1 && joined.every((line) => line.startsWith("hardLink ")),
    joined.join(", "),
  );
});

test("links from outside of the tree do not count", async (t) => {
  const pair = makePair(t);
  fs.writeFileSync(join(pair.source, "file"), "x");
  pair.copy();
  fs.linkSync(join(pair.source, "file"), join(pair.base, "outside"));
  fs.linkSync(join(pair.source, "file"), join(pair.base, "outside2"));
  assert.deepEqual(found(await pair.compare()), []);
});

test("finds another device number", { skip: onlyRoot }, async (t) => {
  const pair = makePair(t);
  execFileSync("mknod", [join(pair.source, "null"), "c", "1", "3"]);
  pair.copy();
  assert.deepEqual(found(await pair.compare()), []);
  const device = join(pair.target, "null");
  keepTime(pair.target, () =>
    keepTime(device, () => {
      fs.rmSync(device);
      execFileSync("mknod", [device, "c", "1", "5"]);
    }),
  );
  const summary = await pair.compare();
  assert.deepEqual(found(summary), ["device null"]);
  assert.match(summary.differences[0]?.detail ?? "", /1:3, target 1:5/);
});

test("holes: lost ones are found, kept and filled ones are not", async (t) => {
  const pair = makePair(t);
  const megabyte = 1024 * 1024;
  const [sparse, dense] = [join(pair.source, "sparse"), join(pair.source, "dense")];
  fs.writeFileSync(sparse, "head");
  fs.truncateSync(sparse, 8 * megabyte);
  fs.appendFileSync(sparse, "tail");
  fs.writeFileSync(dense, Buffer.alloc(megabyte));
  execFileSync("cp", ["-a", "--sparse=never", pair.source, pair.target]);
  assert.deepEqual(found(await pair.compare()), ["holes sparse"]);
  assert.deepEqual(found(await pair.compare({ content: false })), ["holes sparse"]);
  assert.deepEqual(found(await pair.compare({ ignore: new Set(["holes"]) })), []);
  // A mirror may be sparser than its source.
  execFileSync("rm", ["-rf", pair.target]);
  execFileSync("cp", ["-a", "--sparse=always", pair.source, pair.target]);
  const summary = await pair.compare();
  assert.deepEqual(found(summary), []);
  assert.ok(summary.contentBytes < 2 * megabyte, "common holes are not read");
});

test("finds one byte in the middle of what is a hole on the other side", async (t) => {
  const pair = makePair(t);
  const megabyte = 1024 * 1024;
  for (const side of ["source", "target"] as const) {
    const file = join(pair.source, side);
    fs.writeFileSync(file, "");
    fs.truncateSync(file, 32 * megabyte + 1);
  }
  pair.copy();
  const positions = { source: 17 * megabyte + 5, target: 32 * megabyte };
  for (const side of ["source", "target"] as const) {
    const file = join(pair[side], side);
    keepTime(file, () => {
      const fd = fs.openSync(file, "r+");
      fs.writeSync(fd, "x", positions[side]);
      fs.closeSync(fd);
    });
  }
  const summary = await pair.compare();
  assert.deepEqual(found(summary), ["content source", "content target"]);
  const details = summary.differences.map((difference) => difference.detail).sort();
  assert.deepEqual(
    details,
    [
      `first difference at byte ${positions.source}`,
      `first difference at byte ${positions.target}`,
    ].sort(),
  );
});

test("without the content check, only the bytes are not looked at", async (t) => {
  const pair = makePair(t);
  fillSource(pair);
  pair.copy();
  const file = join(pair.target, "dir/file");
  keepTime(file, () => fs.writeFileSync(file, "hellO"));
  addNanosecond(join(pair.target, "empty"));
  const summary = await pair.compare({ content: false });
  assert.deepEqual(found(summary), ["mtime empty"]);
  assert.equal(summary.contentBytes, 0);
});

test("ignored kinds are neither reported nor counted", async (t) => {
  const pair = makePair(t);
  fillSource(pair);
  pair.copy();
  addNanosecond(join(pair.target, "empty"));
  const summary = await pair.compare({ ignore: new Set([DifferenceKind.mtime]) });
  assert.equal(summary.clean, true);
  assert.equal(summary.findingCount, 0);
});

test("names of any bytes are compared, and printed without control characters", async (t) => {
  const pair = makePair(t);
  const name = Buffer.from([0xff, 0x0a, 0x5c, 0x1b, 0xc3, 0xa9, 0xc3]);
  fs.writeFileSync(Buffer.concat([Buffer.from(`${pair.source}/`), name]), "x");
  pair.copy();
  assert.deepEqual(found(await pair.compare()), []);
  fs.writeFileSync(Buffer.concat([Buffer.from(`${pair.target}/`), name]), "y");
  const summary = await pair.compare({ ignore: new Set(["mtime"]) });
  const [first] = summary.differences;
  assert.ok(first !== undefined);
  const line = formatDifference(first);
  assert.equal(line, "content \\xff\\x0a\\\\\\x1bé\\xc3: first difference at byte 0");
});

test("escaping is one-to-one and printable", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 12 }), fc.uint8Array({ maxLength: 12 }), (a, b) => {
      const [left, right] = [escapeBytes(a), escapeBytes(b)];
      assert.equal(left === right, Buffer.from(a).equals(b));
      assert.doesNotMatch(left, /\p{C}/u);
    }),
  );
  assert.equal(escapeBytes(Buffer.from("a\u202eb")), "a\\xe2\\x80\\xaeb");
});

test("the list in the summary is bounded, the counts and the reporter are not", async (t) => {
  const pair = makePair(t);
  for (let index = 0; index < 20; index++) fs.writeFileSync(join(pair.source, `${index}`), "");
  fs.mkdirSync(pair.target);
  let reported = 0;
  const report = { difference: () => (reported += 1) };
  const ignore = new Set([DifferenceKind.mtime]);
  const summary = await pair.compare({ differenceCountMax: 3, ignore, report });
  assert.equal(summary.differences.length, 3);
  assert.equal(summary.counts.missing, 20);
  assert.equal(reported, 20);
});

test("a directory of many entries is compared whole", async (t) => {
  const pair = makePair(t);
  const count = 2500;
  for (let index = 0; index < count; index++) {
    fs.closeSync(fs.openSync(join(pair.source, `entry with a longer name ${index}`), "w"));
  }
  pair.copy();
  fs.rmSync(join(pair.target, "entry with a longer name 2321"));
  fs.writeFileSync(join(pair.target, "entry with another name"), "");
  const summary = await pair.compare({ ignore: new Set(["mtime"]) });
  assert.deepEqual(found(summary), [
    "extra entry with another name",
    "missing entry with a longer name 2321",
  ]);
  assert.equal(summary.entryCount, count + 2);
});

/** `levels` directories in each other, each with a side directory that holds one file. */
function makeDeep(root: string, levels: number, oddLevels: readonly number[]): void {
  let fd = files.openPath(Buffer.from(root), Open.read | Open.directory);
  const deeper = Buffer.from("d".repeat(150));
  for (let level = 0; level < levels; level++) {
    for (const name of [deeper, Buffer.from("side")]) assert.equal(files.mkdir(fd, name, 0o755), 0);
    const flags = Open.write | Open.create;
    const file = files.openBeneath(fd, Buffer.from("side/file"), flags, 0o644);
    assert.ok(file >= 0);
    const text = Buffer.from(oddLevels.includes(level) ? "odd" : "all");
    assert.equal(files.pwrite(file, text, 0, 3, 0), 3);
    files.close(file);
    const next = files.openBeneath(fd, deeper, Open.read | Open.directory, 0);
    assert.ok(next >= 0);
    files.close(fd);
    fd = next;
  }
  files.close(fd);
}

test("paths far beyond PATH_MAX are walked, with a bounded number of descriptors", async (t) => {
  const pair = makePair(t);
  fs.mkdirSync(pair.target);
  const levels = 400;
  makeDeep(pair.source, levels, []);
  makeDeep(pair.target, levels, [3, 130, 399]);
  const openCount = (): number => fs.readdirSync("/proc/self/fd").length;
  const before = openCount();
  let most = 0;
  const report = { difference: () => (most = Math.max(most, openCount())) };
  const summary = await pair.compare({ ignore: new Set(["mtime"]), report });
  assert.equal(summary.differenceCount, 3);
  assert.equal(summary.counts.content, 3);
  assert.equal(summary.entryCount, 1 + 3 * levels);
  const lengths = summary.differences.map((difference) => difference.path.length);
  assert.equal(Math.max(...lengths), 399 * 151 + "side/file".length);
  assert.ok(most - before < 120, `${most - before} descriptors more`);
  assert.equal(openCount(), before);
});

test("a level that was replaced while the walk was below is said to be changing", async (t) => {
  const pair = makePair(t);
  fs.mkdirSync(pair.target);
  makeDeep(pair.source, 120, []);
  makeDeep(pair.target, 120, [119]);
  let moved = false;
  const report = {
    difference: () => {
      if (moved) return;
      moved = true;
      const level = `${"d".repeat(150)}/${"d".repeat(150)}`;
      fs.renameSync(join(pair.target, level), join(pair.base, "elsewhere"));
      // The same names again, other directories.
      fs.mkdirSync(join(pair.target, level));
      makeDeep(join(pair.target, level), 118, [...Array(118).keys()]);
    },
  };
  const summary = await pair.compare({ ignore: new Set(["mtime"]), report });
  assert.equal(moved, true);
  assert.equal(summary.counts.content, 1);
  assert.ok(summary.counts.changing >= 1);
  assert.equal(summary.cancelled, false);
});

test("mount points below the roots are counted and not entered", { skip: onlyRoot }, async (t) => {
  const pair = makePair(t);
  const points = ["directory", "file"].map((entry) => join(pair.source, entry));
  const [directory = "", file = ""] = points;
  const outside = join(pair.base, "outside");
  fs.mkdirSync(directory);
  for (const path of [file, outside]) fs.writeFileSync(path, path);
  pair.copy();
  const mount = (...args: string[]): void => void execFileSync("mount", args, { stdio: "ignore" });
  try {
    mount("-t", "tmpfs", "tmpfs", directory);
  } catch {
    t.skip("mounting is not allowed here");
    return;
  }
  try {
    mount("--bind", outside, file);
    fs.writeFileSync(join(directory, "inside"), "x");
    const summary = await pair.compare();
    assert.deepEqual(found(summary), []);
    assert.equal(summary.mountPointCount, 2);
    assert.equal(summary.entryCount, 3);
  } finally {
    for (const point of points) execFileSync("umount", [point]);
  }
});

function withFiles(replaced: Partial<Files>): Files {
  return Object.assign(Object.create(files) as Files, replaced);
}

test("a file that changes each time it is read is changing, not different", async (t) => {
  const pair = makePair(t);
  fs.writeFileSync(join(pair.source, "busy"), "a");
  pair.copy();
  fs.writeFileSync(join(pair.target, "busy"), "b");
  let mode = 0o600;
  const restless = withFiles({
    pread: (...args) => {
      fs.chmodSync(join(pair.source, "busy"), (mode ^= 0o040));
      return files.pread(...args);
    },
  });
  const summary = await pair.compare({ files: restless });
  assert.deepEqual(found(summary), ["changing busy"]);
  assert.equal(summary.differenceCount, 0);
  assert.equal(summary.clean, false);
});

test("a file that changes once while it is read is compared again", async (t) => {
  const pair = makePair(t);
  fs.writeFileSync(join(pair.source, "late"), "new");
  pair.copy();
  const file = join(pair.target, "late");
  keepTime(file, () => fs.writeFileSync(file, "old"));
  let readCount = 0;
  const late = withFiles({
    pread: (...args) => {
      const result = files.pread(...args);
      readCount += 1;
      if (readCount === 2) keepTime(file, () => fs.writeFileSync(file, "new"));
      return result;
    },
  });
  const summary = await pair.compare({ files: late });
  assert.deepEqual(found(summary), []);
  assert.equal(readCount, 4);
});

test("a young difference is looked at again when it has had time to settle", async (t) => {
  const pair = makePair(t);
  fs.writeFileSync(join(pair.source, "file"), "new");
  fs.mkdirSync(pair.target);
  const mirrored: Clock = {
    ...clock,
    after: (delayMs, fire) => {
      assert.ok(delayMs > 0 && delayMs <= 60_000);
      execFileSync("cp", ["-a", join(pair.source, "file"), pair.target]);
      clock.defer(fire);
      return { cancel: () => {} };
    },
  };
  const options = { clock: mirrored, settleMs: 60_000, ignore: new Set([DifferenceKind.mtime]) };
  assert.deepEqual(found(await pair.compare(options)), []);
});

test("what cannot be read is said to be unreadable, on its side", async (t) => {
  const pair = makePair(t);
  fs.mkdirSync(join(pair.source, "dir"));
  fs.writeFileSync(join(pair.source, "file"), "x");
  pair.copy();
  const refusing = withFiles({
    pread: () => -Errno.EIO,
    openBeneath: (fd, path, flags, mode) =>
      Buffer.from(path).toString() === "dir"
        ? -Errno.EACCES
        : files.openBeneath(fd, path, flags, mode),
  });
  const summary = await pair.compare({ files: refusing });
  assert.deepEqual(found(summary), ["unreadable dir", "unreadable file"]);
  assert.equal(summary.clean, false);
});

test("cancelling ends the comparison, and what is incomplete is not clean", async (t) => {
  const pair = makePair(t);
  fillSource(pair);
  pair.copy();
  const controller = new AbortController();
  let nowUs = 0;
  let deferredCount = 0;
  const stepping: Clock = {
    ...clock,
    monotonicUs: () => (nowUs += 2_000),
    defer: (fire) => {
      deferredCount += 1;
      if (deferredCount === 2) controller.abort();
      clock.defer(fire);
    },
  };
  const summary = await pair.compare({ clock: stepping, signal: controller.signal });
  assert.equal(summary.cancelled, true);
  assert.equal(summary.clean, false);
  assert.ok(summary.entryCount < 8);
});

test("progress is told, and the caller's descriptors can be used again", async (t) => {
  const pair = makePair(t);
  fillSource(pair);
  pair.copy();
  let nowUs = 0;
  const slow: Clock = { ...clock, monotonicUs: () => (nowUs += 60_000) };
  const seen: number[] = [];
  const report = { progress: ({ entryCount }: { entryCount: number }) => seen.push(entryCount) };
  const fds = [pair.source, pair.target].map((path) =>
    files.openPath(Buffer.from(path), Open.read | Open.directory),
  );
  const [sourceFd = -1, targetFd = -1] = fds;
  const options = { content: true, ignore: new Set<DifferenceKind>(), settleMs: 0 };
  for (let round = 0; round < 2; round++) {
    const all = { ...options, clock: slow, differenceCountMax: 1 };
    const summary = await compareTrees(files, sourceFd, targetFd, all, report);
    assert.equal(summary.entryCount, 8);
  }
  for (const fd of fds) files.close(fd);
  assert.ok(seen.length >= 4);
});

// ---- property: a random tree, a copy, one random change ----

interface NodePlan {
  readonly kind: "file" | "directory" | "symlink" | "link" | "fifo";
  readonly name: Uint8Array;
  readonly parent: number;
  readonly text: Uint8Array;
  readonly mtime: number;
}

const name = fc
  .uint8Array({ minLength: 1, maxLength: 20 })
  .map((bytes) => bytes.map((byte) => (byte === 0 || byte === 0x2f ? 0x61 : byte)))
  .filter((bytes) => !/^\.\.?$/.test(Buffer.from(bytes).toString("latin1")));

const plan: fc.Arbitrary<NodePlan[]> = fc.array(
  fc.record({
    kind: fc.constantFrom("file", "file", "directory", "symlink", "link", "fifo"),
    name,
    parent: fc.nat(20),
    text: fc.uint8Array({ minLength: 1, maxLength: 40 }),
    mtime: fc.integer({ min: -1e9, max: 2e9 }),
  }),
  { minLength: 1, maxLength: 25 },
);

interface Built {
  readonly path: Buffer;
  readonly kind: "file" | "directory" | "symlink" | "fifo";
}

function joinBytes(directory: Uint8Array, entry: Uint8Array): Buffer {
  return directory.length === 0 ? Buffer.from(entry) : Buffer.concat([directory, slash, entry]);
}
const slash = Buffer.from("/");

function build(root: string, nodes: readonly NodePlan[]): Built[] {
  const built: Built[] = [];
  const at = (path: Buffer): Buffer => joinBytes(Buffer.from(root), path);
  for (const node of nodes) {
    const directories = built.filter((other) => other.kind === "directory");
    const parent = directories[node.parent % (directories.length + 1)]?.path ?? noName;
    const path = joinBytes(parent, node.name);
    if (built.some((other) => other.path.equals(path))) continue;
    const regular = built.filter((other) => other.kind === "file");
    const linkTo = node.kind === "link" ? regular[node.mtime & 7] : undefined;
    const kind = node.kind === "link" ? "file" : node.kind;
    const linkText = Buffer.from(node.text.map((byte) => byte || 1));
    if (linkTo !== undefined) fs.linkSync(at(linkTo.path), at(path));
    else if (kind === "file") fs.writeFileSync(at(path), node.text);
    else if (kind === "directory") fs.mkdirSync(at(path));
    else if (kind === "symlink") assert.equal(files.symlink(0, at(path), linkText), 0);
    else assert.equal(files.mknod(0, at(path), 0o010644, 0), 0);
    built.push({ path, kind });
  }
  // Children first, so that no time of a directory changes again.
  for (const [index, { path }] of [...built.entries()].reverse()) {
    assert.equal(files.setTimes(0, at(path), nodes[index]?.mtime ?? 0, index * 7919 + 1), 0);
  }
  return built;
}

interface Change {
  readonly name: string;
  readonly kind: DifferenceKind;
  /** Changes the target's file at `path`, whose time and whose directory's time are kept. */
  readonly apply: (path: Buffer, built: Built) => boolean;
}

const changes: readonly Change[] = [
  {
    name: "flip a byte",
    kind: "content",
    apply: (path, { kind }) => {
      if (kind !== "file") return false;
      const bytes = fs.readFileSync(path);
      const index = bytes.length >> 1;
      bytes[index] = (bytes[index] ?? 0) ^ 1;
      fs.writeFileSync(path, bytes);
      return true;
    },
  },
  {
    name: "truncate",
    kind: "size",
    apply: (path, { kind }) => {
      if (kind === "file") fs.truncateSync(path, 0);
      return kind === "file";
    },
  },
  {
    name: "chmod",
    kind: "mode",
    apply: (path, { kind }) => {
      if (kind !== "symlink") fs.chmodSync(path, 0o711);
      return kind !== "symlink";
    },
  },
  {
    name: "attribute",
    kind: "attributes",
    apply: (path, { kind }) => {
      if (kind !== "file" && kind !== "directory") return false;
      setAttribute(path, "user.x", "y");
      return true;
    },
  },
  {
    name: "remove",
    kind: "missing",
    apply: (path) => {
      fs.rmSync(path, { recursive: true });
      return true;
    },
  },
  {
    name: "replace by a directory",
    kind: "kind",
    apply: (path, { kind }) => {
      if (kind === "directory") return false;
      fs.rmSync(path);
      fs.mkdirSync(path);
      return true;
    },
  },
];

/** Paths whose entries share the inode of `path` in the source: what the change shows up at. */
function namesOf(root: string, built: readonly Built[], one: Built): string[] {
  const inode = ({ path }: Built): bigint =>
    fs.lstatSync(joinBytes(Buffer.from(root), path), { bigint: true }).ino;
  return built
    .filter((other) => inode(other) === inode(one))
    .map(({ path }) => path.toString("latin1"));
}

test("one random change in the copy of a random tree is found exactly", async () => {
  const applied = new Map<string, number>();
  const property = fc.asyncProperty(
    plan,
    fc.nat(),
    fc.nat(changes.length - 1),
    async (nodes, victim, which) => {
      const undo: (() => void)[] = [];
      const pair = makePair({ after: (fn) => undo.push(fn) });
      try {
        const built = build(pair.source, nodes);
        pair.copy();
        assert.deepEqual(found(await pair.compare()), []);
        const one = built[victim % built.length];
        const change = changes[which];
        assert.ok(one !== undefined && change !== undefined);
        const path = joinBytes(Buffer.from(pair.target), one.path);
        const parent = path.subarray(0, path.lastIndexOf(0x2f));
        let done = false;
        const lasting = change.kind !== "missing" && change.kind !== "kind";
        keepTime(parent, () => {
          const apply = (): void => void (done = change.apply(path, one));
          if (lasting) keepTime(path, apply);
          else apply();
        });
        if (!done) return;
        applied.set(change.name, (applied.get(change.name) ?? 0) + 1);
        const single = !lasting || one.kind === "directory";
        const names = single ? [one.path.toString("latin1")] : namesOf(pair.source, built, one);
        const expected = names.map((entry) => `${change.kind} ${entry}`).sort();
        assert.deepEqual(found(await pair.compare()), expected);
      } finally {
        for (const fn of undo) fn();
      }
    },
  );
  const seed = process.env["FC_SEED"];
  await fc.assert(property, { numRuns: 80, ...(seed === undefined ? {} : { seed: Number(seed) }) });
  assert.ok(applied.size >= changes.length - 1, "a test that changes nothing proves nothing");
});
