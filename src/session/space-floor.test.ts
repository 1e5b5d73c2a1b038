import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock, Files } from "../world/index.ts";
import { native } from "../world/node/index.ts";
import { type FreeLimit, freeLimitDefault, SpaceFloor } from "./space-floor.ts";

const MB = 1 << 20;

interface Rig {
  floor: SpaceFloor;
  told: string[];
  /** Free space of the filesystem. */
  disk: { freeBytes: number; totalBytes: number };
  pass: (seconds: number) => void;
  lookCount: () => number;
}

function rigOf(minFree: FreeLimit | undefined, freeBytes: number, totalBytes = 1000 * MB): Rig {
  const disk = { freeBytes, totalBytes };
  const told: string[] = [];
  let nowUs = 0;
  let lookCount = 0;
  const statfs: Files["statfs"] = (_, out) => {
    lookCount++;
    out.set([0, 4096, disk.totalBytes / 4096, 0, disk.freeBytes / 4096, 255]);
    return 0;
  };
  const clock: Clock = {
    monotonicUs: () => nowUs,
    wallMs: () => 0,
    after: () => ({ cancel: () => {} }),
    defer: () => {},
  };
  const files: Files = { ...native(), statfs };
  const limit = minFree === undefined ? {} : { minFree };
  const tell = (message: string): void => void told.push(message);
  const floor = new SpaceFloor({ files, rootFd: 0, clock, ...limit, tell });
  const pass = (seconds: number): void => void (nowUs += seconds * 1e6);
  return { floor, told, disk, pass, lookCount: () => lookCount };
}

const bytesOf = (bytes: number): FreeLimit => ({ text: `${bytes}`, bytes, share: 1 });

/** As a target asks for each epoch. */
const mayWrite = (floor: SpaceFloor, bytes: number): boolean =>
  floor.passes(bytes) || !floor.holds(bytes);

test("data waits before it takes the space below the floor, and is told once", () => {
  const { floor, told, disk, pass } = rigOf(bytesOf(10 * MB), 12 * MB);
  assert.ok(mayWrite(floor, 2 * MB));
  disk.freeBytes -= 2 * MB;
  for (let i = 0; i < 3; i++) {
    assert.ok(!mayWrite(floor, 1));
    pass(2);
  }
  assert.ok(floor.isLow);
  assert.equal(told.length, 1);
  assert.match(told[0] ?? "", /10 MB free/);
});

test("it goes on by itself when there is space, and some more", () => {
  const { floor, told, disk, pass } = rigOf(bytesOf(10 * MB), 10 * MB);
  assert.ok(!mayWrite(floor, 4096));
  disk.freeBytes += 4096;
  pass(2);
  assert.ok(floor.isStillLow(), "it would stop again at once");
  disk.freeBytes += MB;
  assert.ok(floor.isStillLow(), "it looked a moment ago");
  pass(2);
  assert.ok(!floor.isStillLow());
  assert.deepEqual(told.slice(1), [""]);
  assert.ok(mayWrite(floor, 4096));
});

test("smaller data does not pass what waits", () => {
  const { floor, told, pass } = rigOf(bytesOf(10 * MB), 11 * MB);
  assert.ok(!mayWrite(floor, 2 * MB));
  for (let i = 0; i < 3; i++) {
    pass(2);
    assert.ok(!mayWrite(floor, 100));
    assert.ok(floor.isStillLow());
  }
  assert.equal(told.length, 1);
});

test("a person may go on below the floor until there has been space again", () => {
  const { floor, disk, pass } = rigOf(bytesOf(10 * MB), 9 * MB);
  assert.ok(!mayWrite(floor, 100));
  floor.confirm();
  assert.ok(!floor.isStillLow());
  for (let i = 0; i < 3; i++) {
    assert.ok(mayWrite(floor, MB));
    pass(2);
  }
  disk.freeBytes = 20 * MB;
  assert.ok(mayWrite(floor, 2 * MB));
  disk.freeBytes = 9 * MB;
  pass(2);
  assert.ok(!mayWrite(floor, 2 * MB));
});

test("small writes are counted and not looked at one by one", () => {
  const { floor, disk, lookCount } = rigOf(bytesOf(10 * MB), 30 * MB);
  let written = 0;
  while (written < 25 * MB && mayWrite(floor, 1000)) {
    written += 1000;
    disk.freeBytes -= 1000;
  }
  assert.ok(Math.abs(written - 20 * MB) <= 2000, `${written}`);
  // One for each megabyte, and for each write when there is less than that left.
  assert.ok(lookCount() < 50, `${lookCount()}`);
});

test("what other programs write is seen now and then", () => {
  const { floor, disk, pass } = rigOf(bytesOf(10 * MB), 30 * MB);
  assert.ok(mayWrite(floor, 100));
  disk.freeBytes = 5 * MB;
  pass(2);
  floor.tick();
  assert.ok(!mayWrite(floor, 100));
});

test("the default floor is the smaller of a share and an amount", () => {
  const small = rigOf(freeLimitDefault, 9 * MB, 1000 * MB);
  assert.ok(!mayWrite(small.floor, 1));
  const smallEnough = rigOf(freeLimitDefault, 11 * MB, 1000 * MB);
  assert.ok(mayWrite(smallEnough.floor, 1));
  const large = rigOf(freeLimitDefault, 255 * MB, 1e7 * MB);
  assert.ok(!mayWrite(large.floor, 1));
  const largeEnough = rigOf(freeLimitDefault, 257 * MB, 1e7 * MB);
  assert.ok(mayWrite(largeEnough.floor, 1));
});

test("without a limit, or on a filesystem of no size, everything passes", () => {
  const none = rigOf(undefined, 0);
  assert.ok(mayWrite(none.floor, 100 * MB));
  assert.equal(none.lookCount(), 0);
  const sizeless = rigOf(freeLimitDefault, 0, 0);
  assert.ok(mayWrite(sizeless.floor, 100 * MB));
});
