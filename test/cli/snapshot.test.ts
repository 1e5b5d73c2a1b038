/** `snapshot` of the real program: a copy of the target at one cut, whatever goes on beside it. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { linkPair } from "../workloads/link-pair.ts";
import { compareFolders } from "../workloads/mirror.ts";
import { MountSpace } from "../workloads/mount-space.ts";
import { eventsOf, makeHome, runProgram, Running, scratchFolder } from "./program.ts";

/** Counts in one file, then in another, in place and without end. */
const counting = `
const fs = require("node:fs");
const [first, second] = process.argv.slice(1).map((path) => fs.openSync(path, "r+"));
let count = 0;
const turn = () => {
  // Now alone, as an express lane wants it, now not.
  for (let i = count % 100 < 50 ? 5 : 1; i > 0; i--) {
    count++;
    const text = String(count).padStart(9, "0");
    fs.writeSync(first, text, 0);
    fs.writeSync(second, text, 0);
  }
  setTimeout(turn, 1);
};
turn();`;

function fill(source: string, fileCount: number): void {
  for (let i = 0; i < 10; i++) mkdirSync(join(source, `d${i}`));
  for (let i = 0; i < fileCount; i++) {
    writeFileSync(join(source, `d${i % 10}`, `f${i}`), `${i}`.repeat(1 + (i % 300)));
  }
  symlinkSync("d1/f1", join(source, "link"));
}

interface Local {
  home: string;
  source: string;
  target: string;
  place: string;
  sync: Running;
  /** Runs a command of the same user to its end. */
  run: (...args: string[]) => ReturnType<typeof runProgram>;
}

/** A sync into a folder of this machine, live. */
async function local(t: TestContext, fileCount: number): Promise<Local> {
  const folder = scratchFolder(t);
  const home = makeHome(folder, "home");
  const [source, target] = [join(folder, "a"), join(folder, "b")];
  mkdirSync(source);
  fill(source, fileCount);
  const args = ["sync", source, target, "--json", "--backend", "inotify"];
  const sync = new Running(t, args, { home, stdin: "" });
  await sync.said(/"event":"live"/);
  const run: Local["run"] = (...rest) => runProgram(t, rest, { home });
  return { home, source, target, place: `${target}.snapshots`, sync, run };
}

test("each snapshot is of one cut while two files are written in turn", async (t) => {
  const { source, target, serve, sync, far } = await linkPair(t);
  fill(source, 400);
  const [first, second] = [join(source, "d0", "a-first"), join(source, "d9", "z-second")];
  for (const path of [first, second]) writeFileSync(path, "000000000");
  await serve();
  const running = sync();
  await running.said(/"event":"live"/);
  const writer = spawn(process.execPath, ["-e", counting, first, second]);
  t.after(() => writer.kill("SIGKILL"));
  let cleanCount = 0;
  let former = -1;
  for (let turn = 0; turn < 7; turn++) {
    const { exit, stdout, stderr } = await runProgram(t, ["snapshot", `s${turn}`, "--json"], {
      home: far,
    });
    assert.equal(exit, 0, stderr);
    const record = eventsOf(stdout).find(({ event }) => event === "snapshot");
    assert.ok(record !== undefined, stdout);
    assert.equal(record["files"], 402);
    const at = join(`${target}.snapshots`, `s${turn}`);
    const [a = 0, b = 0] = ["d0/a-first", "d9/z-second"].map((path) => {
      return Number(readFileSync(join(at, path), "latin1"));
    });
    if (record["clean"] === true) {
      cleanCount++;
      assert.ok(b <= a && a <= b + 1, `${a} and ${b} are of two moments`);
    }
    assert.ok(a >= former, "time goes on");
    former = a;
  }
  assert.ok(former > 0, "something was written");
  assert.ok(cleanCount > 0, "some were clean");
  const listed = eventsOf(
    (await runProgram(t, ["snapshot", "--list", "--json"], { home: far })).stdout,
  );
  assert.deepEqual(
    listed.map(({ name }) => name),
    Array.from({ length: 7 }, (_, turn) => `s${turn}`),
  );
});

test("a snapshot has all of the target, is listed, stays as it is, and is removed", async (t) => {
  const { source, target, place, run, sync } = await local(t, 50);
  const taken = await run("snapshot", "before", "--json");
  assert.equal(taken.exit, 0, taken.stderr);
  const at = join(place, "before");
  assert.ok((await compareFolders({ source: target, target: at })).clean);
  assert.equal(statSync(place).mode & 0o777, 0o700);
  const record: unknown = JSON.parse(readFileSync(`${at}.json`, "utf8"));
  const told = eventsOf(taken.stdout).find(({ event }) => event === "snapshot");
  assert.deepEqual({ event: "snapshot", ...(record as object) }, told);
  assert.equal(Date.parse(String(told?.["cut"])), told?.["cutWallMs"]);
  // In place, as a mirror does it.
  writeFileSync(join(source, "d1", "f1"), "changed");
  assert.equal((await run("flush", "-q")).exit, 0);
  assert.equal(readFileSync(join(target, "d1", "f1"), "utf8"), "changed");
  assert.equal(readFileSync(join(at, "d1", "f1"), "utf8"), "11");
  const verified = await run("verify", source, target);
  assert.equal(verified.exit, 0, verified.stdout);
  assert.match((await run("snapshot", "--list", target)).stdout, /^before +20.*Z +\d+ +50 /m);
  assert.equal((await run("snapshot", "--remove", "before")).exit, 0);
  assert.deepEqual(readdirSync(place), []);
  sync.kill("SIGTERM");
  assert.equal((await sync.end()).exit, 0);
  assert.match((await run("snapshot", "--list", target)).stdout, /no snapshots/);
});

test("what cannot be is said, and leaves nothing behind", async (t) => {
  const { source, target, place, run, sync } = await local(t, 10);
  const refused = async (exit: number, message: RegExp, ...args: string[]): Promise<void> => {
    const outcome = await run("snapshot", ...args);
    assert.match(outcome.stderr, message);
    assert.equal(outcome.exit, exit, outcome.stderr);
  };
  for (const name of ["", ".x", "a/b", "a.json", "ü", "x".repeat(129)]) {
    await refused(2, /snapshot name/, name);
  }
  await refused(2, /needs a NAME/);
  await refused(2, /one argument too many/, "a", target, "c");
  await refused(2, /not both/, "--list", "--remove", "x");
  await refused(3, /NO_TARGET/, "x", source);
  for (const to of [join(target, "in"), source, join(source, "..")]) {
    await refused(3, /SNAPSHOT_PLACE: .*which is mirrored/, "x", "--to", to);
  }
  await refused(1, /SNAPSHOT_MISSING/, "--remove", "x");
  assert.equal(existsSync(place), false);
  assert.equal((await run("snapshot", "x")).exit, 0);
  await refused(1, /SNAPSHOT_EXISTS/, "x");
  assert.deepEqual(new Set(readdirSync(place)), new Set(["x", "x.json"]));
  sync.kill("SIGTERM");
  await sync.end();
  await refused(3, /NO_TARGET/, "y");
});

test("without a source the target is not live", async (t) => {
  const { target, serve, far } = await linkPair(t);
  await serve();
  const { exit, stderr } = await runProgram(t, ["snapshot", "x"], { home: far });
  assert.deepEqual([exit, /SNAPSHOT_FAILED: .* is not live/.test(stderr)], [1, true], stderr);
  assert.equal(existsSync(`${target}.snapshots`), false);
});

test("a process that dies, or a client that goes, leaves no snapshot", async (t) => {
  const { home, source, target, place, run, sync } = await local(t, 2500);
  const isBegun = (): boolean => {
    return existsSync(place) && readdirSync(place).some((name) => name.includes("snapshot-"));
  };
  const gone = new Running(t, ["snapshot", "gone"], { home });
  await gone.until("copies", isBegun);
  gone.kill("SIGKILL");
  await gone.end();
  await sync.until("has removed what it began", () => readdirSync(place).length === 0);
  const lost = new Running(t, ["snapshot", "lost"], { home });
  await lost.until("copies", isBegun);
  sync.kill("SIGKILL");
  const { exit, stderr } = await lost.end();
  assert.deepEqual([exit, /SNAPSHOT_FAILED: process \d+ has ended/.test(stderr)], [1, true]);
  assert.match((await run("snapshot", "--list", target)).stdout, /no snapshots/);
  assert.equal(readdirSync(place).length, 1);
  const again = new Running(t, ["sync", source, target, "--json"], { home, stdin: "" });
  await again.said(/"event":"live"/);
  const taken = await run("snapshot", "whole");
  assert.equal(taken.exit, 0, taken.stderr);
  assert.deepEqual(new Set(readdirSync(place)), new Set(["whole", "whole.json"]));
});

test("a disk that is full costs the snapshot and nothing else", async (t) => {
  const space = MountSpace.make(t);
  if (space === undefined) return;
  const folder = scratchFolder(t);
  const home = makeHome(folder, "home");
  const [source, target] = [join(folder, "a"), join(folder, "b")];
  mkdirSync(source);
  fill(source, 700);
  space.run(`mkdir '${folder}/small' && mount -t tmpfs -o size=1m small '${folder}/small'`);
  const { prefix } = space;
  const launch = { home, prefix, stdin: "" };
  const sync = new Running(t, ["sync", source, target, "--json"], launch);
  await sync.said(/"event":"live"/);
  const args = ["snapshot", "x", "--to", `${folder}/small/in`];
  const full = await runProgram(t, args, { home, prefix });
  assert.equal(full.exit, 1);
  assert.match(full.stderr, /SNAPSHOT_FAILED: no snapshot was taken: d\d\/f\d+: ENOSPC/);
  assert.equal(space.run(`ls -A '${folder}/small/in'`), "");
  writeFileSync(join(source, "after"), "after");
  assert.equal((await runProgram(t, ["flush", "-q"], { home, prefix })).exit, 0);
  assert.equal(readFileSync(join(target, "after"), "utf8"), "after");
});

for (const kind of ["btrfs", "xfs"]) {
  test(`on ${kind} content is shared, and stays as it was`, async (t) => {
    const space = MountSpace.make(t);
    if (space === undefined) return;
    const folder = scratchFolder(t);
    const home = makeHome(folder, "home");
    try {
      space.run(`cd '${folder}' && mkdir disk && truncate -s 400M image && mkfs.${kind} -q image
        mount -o loop image disk`);
    } catch {
      return t.skip(`needs mkfs.${kind} and a loop device`);
    }
    const [source, target] = [join(folder, "a"), join(folder, "disk", "b")];
    mkdirSync(source);
    fill(source, 20);
    writeFileSync(join(source, "large"), Buffer.alloc(20_000_000, 1));
    const { prefix } = space;
    const sync = new Running(t, ["sync", source, target, "--json"], { home, prefix, stdin: "" });
    await sync.said(/"event":"live"/);
    const run = (...args: string[]) => runProgram(t, args, { home, prefix });
    const { exit, stdout, stderr } = await run("snapshot", "x", "--json");
    assert.equal(exit, 0, stderr);
    const record = eventsOf(stdout).find(({ event }) => event === "snapshot");
    assert.equal(record?.["content"], "shared");
    const used = Number(space.run(`df --output=used -B1 '${folder}/disk' | tail -1`));
    assert.ok(used < 150_000_000, `${used} bytes are used`);
    writeFileSync(join(source, "large"), "small");
    assert.equal((await run("flush", "-q")).exit, 0);
    const size = space.run(`stat -c %s '${target}.snapshots/x/large' '${target}/large'`);
    assert.equal(size, "20000000\n5\n");
    sync.kill("SIGTERM");
    await sync.end();
  });
}
