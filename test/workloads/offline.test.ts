/**
 * Both sides stopped, and changed: the source by its user, the target by somebody who should not
 * have. After the next start the target equals the source, and the start after that has nothing to
 * do. Content that changes without size and time cannot be seen by a comparison of these; see
 * `--checksum`.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { eventsOf, makeHome, runProgram, stateDirOf } from "../cli/program.ts";
import { findPython, runPython } from "./python.ts";

interface Pair {
  readonly base: string;
  readonly source: string;
  readonly target: string;
  readonly home: string;
}

function pairFor(t: TestContext): Pair {
  const base = fs.mkdtempSync(join(tmpdir(), "lockstep-offline-"));
  t.after(() => fs.rmSync(base, { recursive: true, force: true }));
  const [source, target] = [join(base, "source"), join(base, "target")];
  for (const folder of [source, target]) fs.mkdirSync(folder);
  fill(source);
  return { base, source, target, home: makeHome(base, "home") };
}

function fill(source: string): void {
  for (const folder of ["one", "two", "one/deep/er", "kinds", "drift"]) {
    fs.mkdirSync(join(source, folder), { recursive: true });
  }
  for (const folder of ["one", "two", "one/deep/er"]) {
    for (let i = 0; i < 10; i++) {
      const path = join(source, folder, `file-${i}`);
      fs.writeFileSync(path, `${folder} ${i} `.repeat(1 + i * 100));
      // Written in one tick of the kernel's clock, those of two folders could have one time.
      fs.utimesSync(path, 0, 1e6 + folder.charCodeAt(0));
    }
  }
  fs.writeFileSync(join(source, "large"), Buffer.alloc(3_000_000, "large"));
  fs.linkSync(join(source, "one/file-1"), join(source, "two/linked"));
  for (const [index, kind] of kinds.entries()) kind.make(join(source, "kinds", `is-${index}`));
  for (const from of kinds.keys()) {
    for (const to of kinds.keys()) kinds[from]!.make(join(source, "kinds", `${from}-${to}`));
  }
  for (let i = 0; i < 8; i++) fs.writeFileSync(join(source, "drift", `file-${i}`), `drift ${i}`);
}

const kinds: readonly { make: (path: string) => void }[] = [
  { make: (path) => fs.writeFileSync(path, "a file") },
  {
    make: (path) => {
      fs.mkdirSync(join(path, "below"), { recursive: true });
      fs.writeFileSync(join(path, "below/file"), "in a folder");
    },
  },
  { make: (path) => fs.symlinkSync("is-0", path) },
  { make: (path) => fs.symlinkSync("is-1", path) },
];

/** Starts the program until the target equals the source; the operations that this took. */
async function runOnce(t: TestContext, pair: Pair): Promise<number> {
  return Number((await liveAfter(t, pair))["operations"]);
}

/** The event that tells of it. */
async function liveAfter(
  t: TestContext,
  pair: Pair,
  more: readonly string[] = [],
): Promise<Record<string, unknown>> {
  // Without an index, folders that have moved meanwhile are deletions for the safety halt.
  const args = [
    "sync",
    pair.source,
    pair.target,
    "--once",
    "--json",
    "--max-delete",
    "100%",
    ...more,
  ];
  const { exit, stdout, stderr } = await runProgram(t, args, { home: pair.home });
  assert.equal(exit, 0, stderr);
  const live = eventsOf(stdout).find(({ event }) => event === "live");
  assert.equal(typeof live?.["operations"], "number", stdout);
  return live ?? {};
}

async function checkEqual(t: TestContext, pair: Pair): Promise<void> {
  const { source, target, home, base } = pair;
  const verified = await runProgram(t, ["verify", source, target], { home });
  assert.equal(verified.exit, 0, verified.stdout);
  if (findPython([]) === undefined)
    return t.diagnostic("no python3: not walked by another program");
  await runPython("walk-tree.py", [source, target], { prefix: [], cwd: base });
}

/** Seeds, lets both be changed, and holds the next two starts to what they must do. */
async function checkOffline(
  t: TestContext,
  changeSource: (source: string) => void,
  changeTarget: (target: string) => void = () => {},
): Promise<void> {
  const pair = pairFor(t);
  assert.ok((await runOnce(t, pair)) > 50);
  assert.equal(await runOnce(t, pair), 0, "nothing has changed");
  changeSource(pair.source);
  changeTarget(pair.target);
  assert.ok((await runOnce(t, pair)) > 0);
  await checkEqual(t, pair);
  assert.equal(await runOnce(t, pair), 0, "the second start after the change");
}

const replaceFile = (path: string, content: string): void => {
  fs.writeFileSync(`${path}.new`, content);
  fs.renameSync(`${path}.new`, path);
};

test("what was changed in the source while nothing ran is on the target afterwards", (t) =>
  checkOffline(t, (source) => {
    const at = (path: string): string => join(source, path);
    fs.appendFileSync(at("one/file-0"), "more");
    fs.truncateSync(at("large"), 1_500_000);
    // The same size, another time.
    fs.writeFileSync(at("two/file-3"), fs.readFileSync(at("two/file-3")).fill("x"));
    fs.chmodSync(at("two/file-4"), 0o4711);
    fs.utimesSync(at("two/file-5"), 5, 5);
    replaceFile(at("one/file-2"), "replaced");
    fs.renameSync(at("one/file-6"), at("two/moved"));
    fs.renameSync(at("one/file-7"), at("one/file-8"));
    fs.linkSync(at("one/file-9"), at("two/linked-later"));
    // A hard link becomes a file of its own, with the same content, time and size.
    const { mtime } = fs.statSync(at("two/linked"));
    const content = fs.readFileSync(at("two/linked"));
    fs.unlinkSync(at("two/linked"));
    fs.writeFileSync(at("two/linked"), content);
    fs.utimesSync(at("two/linked"), mtime, mtime);
    fs.rmSync(at("one/deep"), { recursive: true });
    fs.unlinkSync(at("two/file-9"));
    fs.mkdirSync(at("new/folder"), { recursive: true });
    fs.writeFileSync(at("new/folder/file"), "new");
  }));

test("folders that changed places while nothing ran have changed places", (t) =>
  checkOffline(t, (source) => {
    const at = (path: string): string => join(source, path);
    fs.renameSync(at("one"), at("swap"));
    fs.renameSync(at("two"), at("one"));
    fs.renameSync(at("swap"), at("two"));
    // And one that was below another is now above it.
    fs.renameSync(at("two/deep"), at("deep"));
    fs.renameSync(at("kinds"), at("deep/er/kinds"));
  }));

test("every kind becomes every other while nothing runs", (t) =>
  checkOffline(t, (source) => {
    for (const from of kinds.keys()) {
      for (const [to, kind] of kinds.entries()) {
        const path = join(source, "kinds", `${from}-${to}`);
        fs.rmSync(path, { recursive: true });
        kind.make(path);
      }
    }
  }));

function drift(target: string): void {
  const at = (path: string): string => join(target, path);
  fs.writeFileSync(at("drift/extra"), "extra");
  fs.mkdirSync(at("extra/folder"), { recursive: true });
  fs.writeFileSync(at("extra/folder/file"), "extra");
  fs.chmodSync(at("extra/folder"), 0o000);
  fs.symlinkSync("/etc", at("drift/escape"));
  fs.unlinkSync(at("drift/file-0"));
  fs.rmSync(at("one/deep"), { recursive: true });
  fs.appendFileSync(at("drift/file-1"), "more");
  fs.writeFileSync(at("drift/file-2"), "DRIFT 2");
  fs.chmodSync(at("drift/file-3"), 0o777);
  fs.utimesSync(at("drift/file-4"), 7, 7);
  fs.unlinkSync(at("drift/file-5"));
  fs.symlinkSync("/etc/hostname", at("drift/file-5"));
  fs.unlinkSync(at("drift/file-6"));
  fs.mkdirSync(at("drift/file-6"));
  fs.writeFileSync(at("drift/file-6/inside"), "inside");
  fs.linkSync(at("large"), at("drift/linked"));
  fs.unlinkSync(at("drift/file-7"));
  fs.linkSync(at("large"), at("drift/file-7"));
  fs.renameSync(at("two"), at("two-moved"));
}

test("what somebody has changed on the target is as in the source again", (t) =>
  checkOffline(t, () => {}, drift));

test("both sides changed while nothing ran", (t) =>
  checkOffline(
    t,
    (source) => {
      fs.renameSync(join(source, "drift"), join(source, "one/drift"));
      fs.renameSync(join(source, "two/file-1"), join(source, "drift"));
      fs.rmSync(join(source, "large"));
      fs.symlinkSync("one", join(source, "large"));
    },
    drift,
  ));

/** Other bytes at `at`, and size and time as before. */
function forge(path: string, at: number): void {
  const { mtime } = fs.statSync(path);
  const fd = fs.openSync(path, "r+");
  fs.writeSync(fd, "forged", at);
  fs.closeSync(fd);
  fs.utimesSync(path, mtime, mtime);
}

test("--checksum finds what has the same size and time, on either side", async (t) => {
  const pair = pairFor(t);
  const { source, target, home } = pair;
  for (const name of ["large", "other", "linked"]) {
    fs.writeFileSync(join(source, name), Buffer.alloc(3_000_000, name));
    fs.utimesSync(join(source, name), 9, 9);
  }
  fs.linkSync(join(source, "linked"), join(source, "one/linked"));
  await runOnce(t, pair);
  for (const path of ["large", "linked", "one/file-9"]) forge(join(source, path), 1000);
  for (const path of ["other", "one/file-8"]) forge(join(target, path), 800);
  // Without what the target remembers of the source's inodes: see origins.test.ts.
  for (const name of fs.readdirSync(stateDirOf(home))) {
    if (name.startsWith("index-")) fs.rmSync(join(stateDirOf(home), name));
  }
  await runOnce(t, pair);
  const { exit, stdout } = await runProgram(t, ["verify", source, target, "--json"], { home });
  const differing = eventsOf(stdout).filter(({ event }) => event === "difference");
  assert.deepEqual([exit, differing.length], [1, 6], "cannot be seen by size and time");
  const live = await liveAfter(t, pair, ["--checksum"]);
  await checkEqual(t, pair);
  // Of nine million bytes in three files, signatures and what differs; and the small files whole.
  assert.ok(Number(live["bytes"]) < 500_000, JSON.stringify(live));
});
