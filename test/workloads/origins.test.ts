/**
 * What the target remembers of the source's inodes over a restart of either side: that what has not
 * changed is neither read nor told, that what has changed without a trace in size and time is
 * found, and that nothing wrong is ever believed, whatever becomes of the index.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventsOf, makeHome, runProgram, scratchFolder, stateDirOf } from "../cli/program.ts";
import { linkPair } from "./link-pair.ts";
import { compareFolders } from "./mirror.ts";

const largeBytes = 1_000_000;
const slotBytes = 64;
const waitMs = 30_000;

interface Run {
  readonly operations: number;
  readonly bytes: number;
  readonly stderr: string;
}

class Pair {
  readonly source: string;
  readonly target: string;
  readonly #context: TestContext;
  readonly #home: string;

  constructor(context: TestContext) {
    const folder = scratchFolder(context);
    this.#context = context;
    this.source = join(folder, "source");
    this.target = join(folder, "target");
    this.#home = makeHome(folder, "home");
    fs.mkdirSync(this.target);
    fill(this.source);
  }

  get indexPath(): string {
    return indexIn(stateDirOf(this.#home));
  }

  /** `sync --once`: what it has sent. */
  async run(source = this.source): Promise<Run> {
    const args = ["sync", source, this.target, "--once", "--json", "--max-delete", "100%"];
    const { exit, stdout, stderr } = await runProgram(this.#context, args, { home: this.#home });
    assert.equal(exit, 0, stderr);
    const live = eventsOf(stdout).find(({ event }) => event === "live")!;
    const { clean } = await compareFolders({ source, target: this.target });
    assert.ok(clean, "the target equals the source");
    return { operations: Number(live["operations"]), bytes: Number(live["bytes"]), stderr };
  }
}

function indexIn(stateDir: string): string {
  const name = fs.readdirSync(stateDir).find((one) => one.startsWith("index-"));
  assert.ok(name !== undefined, "there is an index");
  return join(stateDir, name);
}

function fill(source: string): void {
  for (const folder of ["a", "a/b", "c"]) {
    fs.mkdirSync(join(source, folder), { recursive: true });
    for (let i = 0; i < 40; i++) fs.writeFileSync(join(source, folder, `f${i}`), `${folder} ${i}`);
  }
  for (const name of ["one", "two", "three"]) {
    fs.writeFileSync(join(source, name), randomBytes(largeBytes));
  }
  fs.linkSync(join(source, "one"), join(source, "c/linked"));
  fs.symlinkSync("../one", join(source, "a/symlink"));
}

/** Changes bytes of a file; its size and time stay, to the nanosecond. */
function forge(path: string, at = 0): void {
  const reference = `${path}.reference`;
  fs.writeFileSync(reference, "");
  execFileSync("touch", ["-r", path, reference]);
  const fd = fs.openSync(path, "r+");
  fs.writeSync(fd, "forged", at);
  fs.closeSync(fd);
  execFileSync("touch", ["-r", reference, path]);
  fs.rmSync(reference);
}

test("a restart with nothing changed tells nothing and reads nothing", async (context) => {
  const pair = new Pair(context);
  assert.ok((await pair.run()).operations > 100);
  const size = fs.statSync(pair.indexPath).size;
  // One slot for each node: the files, the folders with the root, the link.
  assert.equal(size, slotBytes * (120 + 3 + 4 + 1));
  for (let i = 0; i < 2; i++) {
    const { operations, bytes, stderr } = await pair.run();
    assert.deepEqual([operations, stderr.includes("index")], [0, false]);
    assert.ok(bytes < 1000, `${bytes} bytes`);
  }
});

test("an edit that sets the time back is found without --checksum", async (context) => {
  const pair = new Pair(context);
  await pair.run();
  forge(join(pair.source, "two"), 1234);
  forge(join(pair.source, "a/f7"));
  forge(join(pair.source, "c/linked"));
  const { bytes } = await pair.run();
  // Of two million bytes what differs, and the small file whole.
  assert.ok(bytes < 300_000, `${bytes} bytes`);
  assert.equal((await pair.run()).operations, 0);
});

test("what has changed the ctime and is told is not a reason to read", async (context) => {
  const pair = new Pair(context);
  await pair.run();
  const { source } = pair;
  fs.chmodSync(join(source, "two"), 0o640);
  fs.linkSync(join(source, "three"), join(source, "a/third"));
  const { bytes } = await pair.run();
  assert.ok(bytes < 3000, `${bytes} bytes`);
  assert.equal((await pair.run()).operations, 0);
});

test("another source begins with nothing remembered", async (context) => {
  const pair = new Pair(context);
  await pair.run();
  const other = `${pair.source}-2`;
  execFileSync("cp", ["-a", pair.source, other]);
  forge(join(other, "two"));
  // Size and time are all there is to go by; see --checksum.
  forge(join(pair.target, "two"));
  fs.copyFileSync(join(other, "two"), join(pair.target, "two"));
  execFileSync("touch", ["-r", join(other, "two"), join(pair.target, "two")]);
  const first = await pair.run(other);
  assert.ok(first.operations >= 127 && first.bytes < 20_000, JSON.stringify(first));
  assert.equal((await pair.run(other)).operations, 0);
  // What the first source was is not known any more either.
  fs.copyFileSync(join(pair.source, "two"), join(pair.target, "two"));
  execFileSync("touch", ["-r", join(pair.source, "two"), join(pair.target, "two")]);
  assert.ok((await pair.run()).operations >= 127);
});

const damages: Readonly<Record<string, (bytes: Buffer) => Buffer>> = {
  "random bytes": (bytes) => randomBytes(bytes.length),
  "another length": (bytes) => Buffer.concat([randomBytes(1001), bytes]),
  "half of it": (bytes) => bytes.subarray(0, bytes.length / 2 + 10),
  "some bytes changed": (bytes) => {
    for (let at = 13; at < bytes.length; at += 100) bytes[at]! ^= 64;
    return bytes;
  },
};

test("a damaged index costs a comparison by size and time, once", async (context) => {
  const pair = new Pair(context);
  await pair.run();
  for (const [what, damage] of Object.entries(damages)) {
    fs.writeFileSync(pair.indexPath, damage(fs.readFileSync(pair.indexPath)));
    const { operations, bytes, stderr } = await pair.run();
    assert.ok(operations > 0 && bytes < 20_000, `${what}: ${operations}, ${bytes}`);
    const isTold = /the index \S+ has \d+ damaged records of \d+; they are dropped/.test(stderr);
    assert.equal(isTold, what !== "half of it", `${what}: ${stderr}`);
  }
  const { operations, stderr } = await pair.run();
  assert.deepEqual([operations, stderr.includes("index")], [0, false]);
});

test("an index that cannot be had is done without", async (context) => {
  const pair = new Pair(context);
  await pair.run();
  const path = pair.indexPath;
  fs.rmSync(path);
  fs.mkdirSync(path);
  const { operations, stderr } = await pair.run();
  assert.equal(operations, 0, "size and time are equal");
  assert.match(stderr, /the index \S+ cannot be opened \(EISDIR\), and is done without/);
});

const victimsTried = ["target", "source", "both"] as const;
const isLarge = process.env["LOCKSTEP_WORKLOADS"] === "all";
for (const victims of isLarge ? victimsTried : victimsTried.slice(0, 2)) {
  test(`nothing wrong is believed after the ${victims} was killed`, async (context) => {
    const { source, target, serve, sync } = await linkPair(context);
    fill(source);
    const stateDir = stateDirOf(join(dirname(source), "far"));
    const serving = await serve();
    const syncing = sync();
    await syncing.said(/"event":"live"/);
    await until("all is recorded", () => fs.statSync(indexIn(stateDir)).size >= slotBytes * 128);
    // Written while it is live, and not yet recorded.
    const fresh = randomBytes(5000);
    const fd = fs.openSync(join(source, "two"), "r+");
    for (let at = 0; at < 100; at++) fs.writeSync(fd, fresh, 0, fresh.length, at * 5000);
    fs.closeSync(fd);
    fs.renameSync(join(source, "a/f1"), join(source, "a/f1-renamed"));
    await until("some of it has arrived", () =>
      fs.readFileSync(join(target, "two")).subarray(0, 5000).equals(fresh),
    );
    if (victims !== "source") serving.kill("SIGKILL");
    if (victims !== "target") syncing.kill("SIGKILL");
    serving.kill("SIGTERM");
    syncing.kill("SIGTERM");
    await Promise.all([serving.end(), syncing.end()]);
    forge(join(source, "three"), 777);
    forge(join(source, "c/f3"));

    const again = await serve();
    for (const isFirst of [true, false]) {
      const { exit, stdout, stderr } = await sync("--once").end();
      assert.equal(exit, 0, stderr);
      const live = eventsOf(stdout).find(({ event }) => event === "live")!;
      assert.equal(Number(live["operations"]) > 0, isFirst);
      assert.ok((await compareFolders({ source, target })).clean);
    }
    again.kill("SIGTERM");
    assert.equal((await again.end()).exit, 0);
  });
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const limit = performance.now() + waitMs;
  while (!holds()) {
    assert.ok(performance.now() < limit, `never: ${what}`);
    await sleep(20);
  }
}
