import assert from "node:assert/strict";
import { test } from "node:test";
import type { Files } from "../world/index.ts";
import { openAttemptsMax } from "./limits.ts";
import { cleanTriesMax, MappedStores, storeRestMsMax, storeRestMsMin } from "./mapped-stores.ts";

const page = 4096;

/** Files that remember what was cleaned, and know which pages of descriptor 5 are dirty. */
function fake(dirty: readonly number[] = [], canTell = true): { files: Files; cleaned: string[] } {
  const cleaned: string[] = [];
  const files = {
    cleanPages: (fd: number, position: number, length: number, waits: 0 | 1) => {
      cleaned.push(`${fd}:${position}+${length}${waits === 1 ? " waiting" : ""}`);
      return 0;
    },
    dirtyPages: (_fd: number, position: number, length: number) => {
      if (!canTell) return -38;
      const end = length === 0 ? Infinity : position + length;
      return dirty.filter((index) => index * page >= position && index * page < end).length;
    },
  };
  return { files: files as unknown as Files, cleaned };
}

function settle(
  stores: MappedStores,
  nowUs: number,
  fd: number | "unnamed" = 5,
): [number, number, number][] {
  const told: [number, number, number][] = [];
  stores.settle(
    nowUs,
    () => (fd === "unnamed" ? undefined : fd),
    (node, from, to) => told.push([node, from, to]),
  );
  return told;
}

test("a store rests before its pages are cleaned and read, in this order", () => {
  const { files, cleaned } = fake();
  const stores = new MappedStores(files);
  stores.add(3, 5000, 6000, 1_000_000);
  assert.equal(stores.nextDueUs, 1_000_000 + storeRestMsMin * 1000);
  assert.deepEqual(settle(stores, 1_000_001), []);
  assert.deepEqual(cleaned, []);
  assert.deepEqual(settle(stores, stores.nextDueUs), [[3, 5000, 6000]]);
  assert.deepEqual(cleaned, [`5:${page}+${6000 - page}`]);
  assert.equal(stores.count, 0);
  assert.equal(stores.nextDueUs, Infinity);
});

test("what somebody else has cleaned need not rest; the rest of it does", () => {
  const { files, cleaned } = fake([3]);
  const stores = new MappedStores(files);
  stores.add(3, 0, page, 0);
  stores.add(3, 4 * page, 5 * page, 0);
  stores.add(4, 0, page, 0);
  stores.cleaned(3, 0, page);
  stores.cleaned(4, 0, Infinity);
  stores.cleaned(5, 0, page);
  assert.deepEqual(settle(stores, Infinity), [[3, 4 * page, 5 * page]]);
  assert.deepEqual(cleaned, [`5:${4 * page}+${page} waiting`]);
  // A file that was mapped is looked through as a whole, whatever part of it was cleaned.
  stores.add(3, 0, Infinity, 0);
  stores.cleaned(3, 0, page);
  assert.deepEqual(settle(stores, Infinity), [[3, 0, 16 * page]]);
});

test("a busy file rests longer each time up to a limit, and a calm one starts anew", () => {
  const stores = new MappedStores(fake().files);
  let now = 0;
  const rests: number[] = [];
  for (let i = 0; i < 10; i++) {
    stores.add(3, 0, page, now);
    rests.push((stores.nextDueUs - now) / 1000);
    now = stores.nextDueUs;
    settle(stores, now);
  }
  assert.deepEqual(rests.slice(0, 4), [2, 4, 8, 16]);
  assert.equal(rests[9], storeRestMsMax);
  now += 10_000_000;
  stores.add(3, 0, page, now);
  assert.equal(stores.nextDueUs - now, storeRestMsMin * 1000);
});

test("a page that is just being written out rests again, then is waited for", () => {
  const dirty = [5];
  const { files, cleaned } = fake(dirty);
  const stores = new MappedStores(files);
  stores.add(3, 0, page, 0);
  stores.add(3, 5 * page, 6 * page, 0);
  // What is clean is read at once.
  assert.deepEqual(settle(stores, stores.nextDueUs), [[3, 0, page]]);
  assert.deepEqual(settle(stores, stores.nextDueUs), []);
  dirty.pop();
  assert.deepEqual(settle(stores, stores.nextDueUs), [[3, 5 * page, 6 * page]]);
  assert.equal(stores.count, 0);
  dirty.push(5);
  stores.add(3, 5 * page, 6 * page, 0);
  for (let tries = 0; tries < cleanTriesMax; tries++) {
    assert.deepEqual(settle(stores, stores.nextDueUs), []);
  }
  assert.deepEqual(settle(stores, stores.nextDueUs), [[3, 5 * page, 6 * page]]);
  assert.equal(cleaned.at(-1), `5:${5 * page}+${page} waiting`);
});

test("stores to one file while it rests are cleaned together, and do not put it off", () => {
  const stores = new MappedStores(fake().files);
  stores.add(3, 0, page, 0);
  const due = stores.nextDueUs;
  stores.add(3, 3 * page, 4 * page, due - 1);
  assert.equal(stores.nextDueUs, due);
  assert.deepEqual(settle(stores, due), [
    [3, 0, page],
    [3, 3 * page, 4 * page],
  ]);
});

test("all files settle at once when asked", () => {
  const stores = new MappedStores(fake().files);
  stores.add(3, 0, page, 0);
  stores.add(4, 0, page, 0);
  stores.forget(4);
  assert.deepEqual(settle(stores, Infinity), [[3, 0, page]]);
});

test("a file that cannot be opened is tried again some times; one without a name waits", () => {
  const stores = new MappedStores(fake().files);
  stores.add(3, 0, page, 0);
  for (let now = 1e6; now < 20e6; now += 1e6) {
    assert.deepEqual(settle(stores, now, -2), []);
    assert.equal(stores.nextDueUs, now + storeRestMsMax * 1000);
  }
  assert.deepEqual(settle(stores, 20e6), [[3, 0, page]]);
  stores.add(3, 0, page, 0);
  for (let tries = 0; tries < openAttemptsMax; tries++) settle(stores, Infinity, -2);
  assert.equal(stores.count, 0);
  stores.add(3, 0, page, 0);
  for (let tries = 0; tries < 100; tries++) settle(stores, Infinity, "unnamed");
  assert.deepEqual(settle(stores, Infinity), [[3, 0, page]]);
});

test("a mapping over dirty pages has just these read", () => {
  const dirty = [0, 1, 700, 70_000];
  const { files, cleaned } = fake(dirty);
  const stores = new MappedStores(files);
  stores.add(3, 0, Infinity, 0);
  const told = settle(stores, Infinity);
  for (const index of dirty) {
    const at = index * page;
    assert.ok(
      told.some(([, from, to]) => from <= at && at + page <= to),
      `page ${index}`,
    );
  }
  const total = told.reduce((sum, [, from, to]) => sum + to - from, 0);
  assert.ok(total <= dirty.length * 32 * page, `${total} bytes`);
  assert.deepEqual(cleaned, ["5:0+0 waiting"]);
});

test("a mapping whose dirty pages the kernel cannot tell has all of the file read", () => {
  const stores = new MappedStores(fake([], false).files);
  stores.add(3, 0, Infinity, 0);
  assert.deepEqual(settle(stores, Infinity), [[3, 0, Infinity]]);
});

test("a file with dirty pages all over costs a bounded number of extents", () => {
  const dirty = Array.from({ length: 2000 }, (_, at) => at * 100);
  const stores = new MappedStores(fake(dirty).files);
  stores.add(3, 0, Infinity, 0);
  const told = settle(stores, Infinity);
  assert.ok(told.length < 400, `${told.length} extents`);
  for (const index of dirty) {
    assert.ok(told.some(([, from, to]) => from <= index * page && (index + 1) * page <= to));
  }
});

test("what is hastened is due at once, and clean when all of it has been cleaned", () => {
  const dirty = [7];
  const { files } = fake(dirty);
  const stores = new MappedStores(files);
  assert.equal(stores.hasten(0)(), true);
  stores.add(3, 0, page, 0);
  stores.add(4, 7 * page, 8 * page, 0);
  const isClean = stores.hasten(1);
  assert.equal(stores.nextDueUs, 1);
  assert.equal(isClean(), false);
  // A page of file 4 is just being written out.
  assert.deepEqual(settle(stores, 1), [[3, 0, page]]);
  assert.equal(isClean(), false);
  // What is stored later is not waited for.
  stores.add(3, 0, page, 2);
  dirty.length = 0;
  assert.deepEqual(settle(stores, stores.nextDueUs).slice(-1), [[4, 7 * page, 8 * page]]);
  stores.add(4, 7 * page, 8 * page, 3);
  assert.equal(isClean(), true);
});
