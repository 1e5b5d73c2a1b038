/**
 * The simulated `Files` against the real kernel's: the same random calls give the same results.
 * This is what makes the simulation worth believing.
 *
 * Compared are results, errors and all that a call hands out, but for what is the filesystem's
 * own: numbers of inodes (which must correspond one to one), sizes of directories, blocks, devices,
 * and the order of names in a directory. Times that were set are compared as they are, others by
 * whether a call has changed them.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import {
  Fallocate,
  type Files,
  Mode,
  Open,
  scanEntryFixedBytes,
  Stat,
  statfsSlots,
  statSlots,
} from "../../src/world/index.ts";
import { native } from "../../src/world/node/index.ts";
import { Chance } from "./chance.ts";
import { SimDisk } from "./sim-disk.ts";
import { SimProcess } from "./sim-files.ts";

const magicExt4 = 0xef53;
const setBeforeSec = 1_200_000_000;
/** More than the kernel's clock for files needs for a tick. */
const tickMs = 5;

interface Step {
  call: string;
  /** Descriptors: how many of those open, counted round. */
  one: number;
  other: number;
  name: string;
  otherName: string;
  at: number;
  length: number;
  mode: number;
  flags: number;
}

const calls = [
  ...["open", "open", "open", "openUnnamed", "close", "stat", "stat", "fstat", "identify", "scan"],
  ...["pread", "pread", "pwrite", "pwrite", "pwrite", "ftruncate", "fallocate", "dataExtents"],
  ...["cloneRange", "setTimes", "chown", "chmod", "chmodAt", "mkdir", "mkdir", "mknod", "symlink"],
  ...["link", "link", "linkOwn", "unlink", "unlink", "rename", "rename", "rename", "readlink"],
  ...["getAttributes", "setAttribute", "setAttribute", "removeAttribute", "fsync", "lock", "umask"],
  "pagesOf",
];
const names = ["a", "b", "c", "d", "", "é", "x".repeat(255), "y".repeat(256)];
const paths = [...names, "a/b", "a/b/c", "b/../a", "../a", "/a", ".", "..", "a/."];
const openFlags = [
  ...[Open.read, Open.write, Open.readWrite, Open.read | Open.directory, Open.path],
  ...[Open.path | Open.noFollow, Open.read | Open.noFollow, Open.readWrite | Open.truncate],
  ...[Open.readWrite | Open.create, Open.write | Open.create | Open.exclusive],
].map((flags) => ((flags & Open.path) === 0 ? flags | Open.nonBlock : flags));
const places = [0, 1, 100, 4095, 4096, 4097, 8192, 10_000, 20_000];
const fallocateModes = [
  ...[0, Fallocate.keepSize, Fallocate.punchHole | Fallocate.keepSize, Fallocate.zeroRange],
  ...[Fallocate.zeroRange | Fallocate.keepSize, Fallocate.punchHole],
];
const modes = [0o644, 0o755, 0o4755, 0o2755, 0o2770, 0o1777, 0o6711, 0, 0o2644];
const types = [
  ...[Mode.fifo, Mode.socket, Mode.regular, Mode.characterDevice, Mode.blockDevice],
  ...[Mode.directory, Mode.symlink],
];

function mostly<T>(usual: fc.Arbitrary<T>, rare: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ arbitrary: usual, weight: 5 }, { arbitrary: rare, weight: 1 });
}

const step: fc.Arbitrary<Step> = fc.record({
  call: fc.constantFrom(...calls),
  one: mostly(fc.constantFrom(0, 1, 2), fc.nat(7)),
  other: mostly(fc.constantFrom(0, 1, 2), fc.nat(7)),
  name: mostly(fc.constantFrom("a", "b", "c", "d"), fc.constantFrom(...paths)),
  otherName: mostly(fc.constantFrom("a", "b", "c", "d"), fc.constantFrom(...names)),
  at: fc.constantFrom(...places),
  length: fc.constantFrom(...places),
  mode: fc.constantFrom(...modes),
  flags: fc.nat(29),
});

const first = {
  one: 0,
  other: 0,
  name: "a",
  otherName: "a",
  at: 0,
  length: 0,
  mode: 0o644,
  flags: 0,
};
/** What every run begins with: files and a directory that are open. */
const beginning: readonly Step[] = [
  { ...first, call: "mkdir", name: "b", mode: 0o755 },
  { ...first, call: "open", name: "a", flags: 8 },
  { ...first, call: "open", name: "b", flags: 3 },
  { ...first, call: "pwrite", one: 1, at: 4097, length: 10_000 },
  { ...first, call: "setAttribute", at: 10 },
  { ...first, call: "symlink", name: "d", otherName: "a" },
  { ...first, call: "openUnnamed", flags: 1 },
  { ...first, call: "pwrite", one: 3, at: 100, length: 100 },
];
const pathOnly = ["open"];

/** One of the two worlds. */
class Side {
  readonly files: Files;
  readonly rootFd: number;
  readonly fds: number[];
  readonly stat: Float64Array = new Float64Array(statSlots);

  constructor(files: Files, rootFd: number) {
    this.files = files;
    this.rootFd = rootFd;
    this.fds = [rootFd];
  }

  /** Files to which space was given. */
  readonly reserved: Set<string> = new Set();

  idOf(fd: number): string {
    this.files.identifyAt(fd, new Uint8Array(0), this.stat);
    return `${this.stat[Stat.ino]} ${this.stat[Stat.gen]}`;
  }

  fd(index: number): number {
    return this.fds[index % this.fds.length]!;
  }

  end(): void {
    for (const fd of this.fds) this.files.close(fd);
  }
}

/** What a step gives: a number, and what else it hands out. */
interface Outcome {
  result: number;
  detail?: unknown;
}

function take(side: Side, own: Step): Outcome {
  const { files, stat } = side;
  const [one, other] = [side.fd(own.one), side.fd(own.other)];
  const name = Buffer.from(own.name);
  const otherName = Buffer.from(own.otherName);
  switch (own.call) {
    case "open": {
      const flags = openFlags[own.flags % openFlags.length]!;
      const mode = (flags & Open.create) === 0 ? 0 : own.mode & 0o777;
      return opened(side, files.openBeneath(one, name, flags, mode));
    }
    case "openUnnamed": {
      const access = [Open.write, Open.readWrite, Open.read][own.flags % 3]!;
      return opened(
        side,
        files.openBeneath(one, new Uint8Array(0), Open.temporary | access, own.mode & 0o777),
      );
    }
    case "close": {
      const index = 1 + (own.one % Math.max(1, side.fds.length - 1));
      if (index >= side.fds.length) return { result: 0 };
      return { result: files.close(side.fds.splice(index, 1)[0]!) };
    }
    case "stat":
      return told(files.statAt(one, name, stat), stat);
    case "fstat":
      return told(files.fstat(one, stat), stat);
    case "identify":
      return told(files.identifyAt(one, name, stat), stat);
    case "scan":
      return scanned(side, one, own.flags % 2 === 0 ? 0 : 1);
    case "pread": {
      const into = new Uint8Array(own.length + 3);
      const result = files.pread(one, into, 3, own.length, own.at);
      return { result, detail: Buffer.from(into).toString("latin1") };
    }
    case "pwrite": {
      const from = new Uint8Array(own.length + 2).fill(own.at % 251 || 7);
      return { result: files.pwrite(one, from, 2, own.length, own.at) };
    }
    case "ftruncate":
      return { result: files.ftruncate(one, own.at) };
    case "fallocate": {
      const mode = fallocateModes[own.flags % fallocateModes.length]!;
      // What is read of space without content counts as data on ext4, until memory is short.
      if ((mode & Fallocate.punchHole) === 0) side.reserved.add(side.idOf(one));
      return { result: files.fallocate(one, mode, own.at, own.length) };
    }
    case "dataExtents": {
      // What lseek does in a directory is the filesystem's own, and nobody asks.
      if (files.fstat(one, stat) < 0 || !isRegular(stat)) return { result: 0 };
      if (side.reserved.has(side.idOf(one))) return { result: 0 };
      const out = new Float64Array(8);
      const result = files.dataExtents(one, own.at, own.at + own.length, out);
      return { result, detail: [...out.subarray(0, Math.max(0, result) * 2)] };
    }
    case "cloneRange":
      return { result: files.cloneRange(one, other, own.at, own.length, places[own.flags % 9]!) };
    default:
      return takeName(side, own, one, other, name, otherName);
  }
}

function takeName(
  side: Side,
  own: Step,
  one: number,
  other: number,
  name: Buffer,
  otherName: Buffer,
): Outcome {
  const { files } = side;
  switch (own.call) {
    case "setTimes":
      return { result: files.setTimes(one, name, 1_000_000 + own.at, own.length) };
    case "chown":
      return { result: files.chown(one, name, own.at % 3, own.length % 3) };
    case "chmod":
      return { result: files.chmod(one, own.mode) };
    case "chmodAt":
      return { result: files.chmodAt(one, name, own.mode) };
    case "mkdir":
      return { result: files.mkdir(one, name, own.mode) };
    case "mknod":
      return { result: files.mknod(one, name, types[own.flags % types.length]! | own.mode, 259) };
    case "symlink":
      return { result: files.symlink(one, name, otherName) };
    case "link":
      return { result: files.link(one, name, other, otherName) };
    case "linkOwn":
      return { result: files.link(one, new Uint8Array(0), other, otherName) };
    case "unlink":
      return { result: files.unlink(one, name, own.flags % 2 === 0 ? 0 : 1) };
    case "rename":
      return { result: files.rename(one, name, other, otherName, own.flags % 4) };
    case "readlink": {
      const out = new Uint8Array(own.length % 300);
      const result = files.readlink(one, name, out);
      return { result, detail: Buffer.from(out).toString("latin1") };
    }
    case "getAttributes": {
      const out = new Uint8Array(own.length);
      const result = files.getAttributes(one, name, out);
      return result < 0 ? { result } : { result, detail: [...out.subarray(0, result)] };
    }
    case "setAttribute": {
      const value = new Uint8Array(own.at % 50).fill(own.length);
      return { result: files.setAttribute(one, name, attributeOf(own), value) };
    }
    case "removeAttribute":
      return { result: files.removeAttribute(one, name, attributeOf(own)) };
    case "fsync":
      return { result: files.fsync(one, own.flags % 2 === 0) };
    case "lock":
      return { result: files.lockFile(one) };
    case "umask":
      return { result: files.umask(own.mode & 0o777) };
    case "pagesOf": {
      const out = new Float64Array(statfsSlots);
      const result = files.statfs(one, out);
      return { result, detail: [out[1], out[5]] };
    }
    default:
      throw new Error(`no call ${own.call}`);
  }
}

function attributeOf(own: Step): Buffer {
  const kinds = ["user.a", "user.b", "trusted.a", "nothing.a"];
  return Buffer.from(kinds[own.flags % kinds.length]!);
}

function opened(side: Side, fd: number): Outcome {
  if (fd < 0) return { result: fd };
  side.fds.push(fd);
  return { result: 0 };
}

function told(result: number, stat: Float64Array): Outcome {
  return result < 0 ? { result } : { result, detail: statOf(stat) };
}

/** The part of a record that must be equal; numbers of inodes are compared by `Pairs`. */
function statOf(stat: Float64Array): Record<string, number | string> {
  const slot = (name: keyof typeof Stat): number => stat[Stat[name]]!;
  const isDirectory = (slot("mode") & Mode.typeMask) === Mode.directory;
  const isSet = slot("mtimeSec") < setBeforeSec;
  return {
    id: `${slot("ino")} ${slot("gen")}`,
    mode: slot("mode").toString(8),
    nlink: slot("nlink"),
    uid: slot("uid"),
    gid: slot("gid"),
    rdev: slot("rdev"),
    size: isDirectory ? -1 : slot("size"),
    mtime: isSet ? `${slot("mtimeSec")}.${slot("mtimeNsec")}` : "now",
    attributeBytes: slot("attributeBytes"),
  };
}

function isRegular(stat: Float64Array): boolean {
  return (stat[Stat.mode]! & Mode.typeMask) === Mode.regular;
}

/** All entries from the beginning, by name. */
function scanned(side: Side, at: number, brief: 0 | 1): Outcome {
  const fd = side.files.openBeneath(at, new Uint8Array(0), Open.read | Open.directory, 0);
  if (fd < 0) return { result: fd };
  const found: [string, unknown][] = [];
  const out = new Uint8Array(1024);
  let result: number;
  while ((result = side.files.scanDirectory(fd, out, brief)) > 0) {
    const view = new DataView(out.buffer);
    for (let position = 0; position < result;) {
      const stat = new Float64Array(statSlots);
      for (let slot = 0; slot < statSlots; slot++) {
        stat[slot] = view.getFloat64(position + slot * 8, true);
      }
      const length = view.getUint16(position + statSlots * 8, true);
      const from = position + scanEntryFixedBytes;
      found.push([Buffer.from(out.subarray(from, from + length)).toString("hex"), statOf(stat)]);
      position += (scanEntryFixedBytes + length + 7) & ~7;
    }
  }
  side.files.close(fd);
  found.sort(([x], [y]) => (x < y ? -1 : x > y ? 1 : 0));
  return { result, detail: found };
}

/** Inodes of the two sides correspond one to one. */
class Pairs {
  readonly #byReal: Map<string, string> = new Map();
  readonly #bySim: Map<string, string> = new Map();

  check(real: unknown, sim: unknown): void {
    if (Array.isArray(real) && Array.isArray(sim)) {
      assert.equal(sim.length, real.length);
      for (const [i, own] of real.entries()) this.check(own, sim[i]);
      return;
    }
    if (!isRecord(real) || !isRecord(sim)) return;
    const [realId, simId] = [real["id"]!, sim["id"]!];
    delete real["id"];
    delete sim["id"];
    // Without a generation a number may be another's by now.
    if (realId.endsWith(" 0")) return;
    assert.equal(this.#byReal.get(realId) ?? simId, simId, "one inode of the kernel's is two");
    assert.equal(this.#bySim.get(simId) ?? realId, realId, "one simulated inode is two");
    this.#byReal.set(realId, simId);
    this.#bySim.set(simId, realId);
  }
}

function isRecord(value: unknown): value is Record<string, string> {
  return typeof value === "object" && value !== null && "id" in value;
}

interface Worlds {
  real: Side;
  sim: Side;
  passMs(ms: number): void;
  end(): void;
}

function worlds(): Worlds {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-sim-"));
  const umask = native().umask(0o022);
  const real = new Side(
    native(),
    native().openPath(Buffer.from(folder), Open.read | Open.directory),
  );
  real.files.chmod(real.rootFd, 0o755);
  let wallUs = 1_800_000_000_000_000;
  const options = {
    chance: new Chance(1),
    wallUs: () => wallUs,
    device: 7,
    pageCountMax: 1e6,
    isCoarse: true,
  };
  const simulated = new SimProcess({ disk: new SimDisk(options) }).files;
  const sim = new Side(simulated, simulated.openPath(Buffer.from("/"), Open.read | Open.directory));
  return {
    real,
    sim,
    passMs: (ms) => (wallUs += ms * 1000),
    end() {
      real.end();
      sim.end();
      native().umask(umask);
      rmSync(folder, { recursive: true });
    },
  };
}

function whyNot(): string | false {
  if (process.getuid?.() !== 0) return "needs root";
  const fd = native().openPath(Buffer.from(tmpdir()), Open.read | Open.directory);
  const out = new Float64Array(statfsSlots);
  native().statfs(fd, out);
  native().close(fd);
  return out[0] === magicExt4 ? false : `needs ext4 at ${tmpdir()}`;
}
const skip = whyNot();
const runsAll = process.env["LOCKSTEP_WORKLOADS"] === "all";
const numRuns = runsAll ? 3000 : 250;
/** What `npm test` runs is always the same: a kernel has more corners than it is worth. */
const seeded = runsAll ? {} : { seed: 1 };

/** Calls on names take one component; only opening takes a path. */
function isMeant(own: Step): boolean {
  return pathOnly.includes(own.call) || names.includes(own.name);
}

test(
  "the same calls give the same results on the simulated and on the real files",
  { skip },
  () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120, size: "max" }), (steps) => {
        const both = worlds();
        const pairs = new Pairs();
        try {
          for (const [i, own] of [...beginning, ...steps].filter(isMeant).entries()) {
            const [real, sim] = [take(both.real, own), take(both.sim, own)];
            pairs.check(real.detail, sim.detail);
            assert.deepEqual(sim, real, `step ${i}: ${JSON.stringify(own)}`);
            seen.add(`${own.call} ${Math.min(0, real.result)}`);
          }
          compareTrees(both, pairs);
        } finally {
          both.end();
        }
      }),
      { ...seeded, numRuns, includeErrorInReport: true },
    );
    // A test that only compares errors compares nothing.
    for (const call of calls) assert.ok(seen.has(`${call} 0`), `${call} has succeeded`);
  },
);

test("the same calls change the same times", { skip }, () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30, size: "max" }), (steps) => {
      const both = worlds();
      try {
        for (const [i, own] of [...beginning, ...steps.filter((own) => own.call !== "close")]
          .filter(isMeant)
          .entries()) {
          const before = [timesOf(both.real), timesOf(both.sim)] as const;
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, tickMs);
          both.passMs(tickMs);
          take(both.real, own);
          take(both.sim, own);
          const after = [timesOf(both.real), timesOf(both.sim)] as const;
          assert.deepEqual(
            changedTimes(before[1], after[1]),
            changedTimes(before[0], after[0]),
            `step ${i}: ${JSON.stringify(own)}`,
          );
        }
      } finally {
        both.end();
      }
    }),
    { ...seeded, numRuns: numRuns / 10, includeErrorInReport: true },
  );
});

/** Times of all that has a name or a descriptor. */
function timesOf(side: Side): Map<string, string> {
  const found = new Map<string, string>();
  const { stat } = side;
  const put = (at: string): void => {
    const [mtimeSec, mtimeNsec] = [stat[Stat.mtimeSec], stat[Stat.mtimeNsec]];
    const ctime = `${stat[Stat.ctimeSec]}.${stat[Stat.ctimeNsec]}`;
    found.set(at, `${mtimeSec}.${mtimeNsec} ${ctime}`);
  };
  for (const [i, fd] of side.fds.entries()) {
    side.files.fstat(fd, stat);
    put(`descriptor ${i}`);
    for (const name of names.filter((own) => own !== "" && own.length < 256)) {
      if (side.files.identifyAt(fd, Buffer.from(name), stat) === 0) put(`${i}/${name}`);
    }
  }
  return found;
}

function changedTimes(before: Map<string, string>, after: Map<string, string>): string[] {
  const changed: string[] = [];
  for (const [at, now] of after) {
    const then = before.get(at);
    if (then === undefined) continue;
    const [mtime, ctime] = now.split(" ");
    const [mtimeThen, ctimeThen] = then.split(" ");
    changed.push(`${at} ${mtime !== mtimeThen ? "m" : ""}${ctime !== ctimeThen ? "c" : ""}`);
  }
  return changed;
}

function compareTrees(both: Worlds, pairs: Pairs): void {
  const [real, sim] = [walk(both.real), walk(both.sim)];
  pairs.check(real, sim);
  for (const [i, own] of real.entries()) pairs.check(own[1], sim[i]?.[1]);
  assert.deepEqual(sim, real);
}

function walk(side: Side): [string, unknown][] {
  const found: [string, unknown][] = [];
  const open: [string, number][] = [["", side.rootFd]];
  const own: number[] = [];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [path, fd] = next;
    for (const [hex, stat] of scanned(side, fd, 0).detail as [string, { mode: string }][]) {
      const at = `${path}/${hex}`;
      found.push([at, stat]);
      if (!stat.mode.startsWith("4")) continue;
      const name = Buffer.from(hex, "hex");
      const inner = side.files.openBeneath(fd, name, Open.read | Open.directory, 0);
      own.push(inner);
      open.push([at, inner]);
    }
  }
  for (const fd of own) side.files.close(fd);
  return found;
}
