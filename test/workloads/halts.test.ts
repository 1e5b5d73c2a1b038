/**
 * Safety halts of the real program: what would take much from the target makes it wait for a
 * person, says so as an event and in `status`, takes nothing meanwhile, and goes on after `resume`.
 */
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { execFileSync } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventsOf, makeHome, runProgram, Running, scratchFolder } from "../cli/program.ts";

const fileCount = 60;

interface Place {
  readonly home: string;
  readonly source: string;
  readonly target: string;
}

function place(t: TestContext): Place {
  const folder = scratchFolder(t);
  const source = join(folder, "source");
  mkdirSync(source);
  for (let i = 0; i < fileCount; i++) {
    const below = join(source, `d${i % 3}`);
    mkdirSync(below, { recursive: true });
    writeFileSync(join(below, `f${i}`), `content ${i}`);
  }
  return { home: makeHome(folder, "home"), source, target: join(folder, "target") };
}

function sync(t: TestContext, { home, source, target }: Place, ...more: string[]): Running {
  return new Running(t, ["sync", source, target, "--json", ...more], { home, stdin: "" });
}

/** Events of one name so far; the last line may not be whole yet. */
function told(running: Running, event: string): Record<string, unknown>[] {
  const whole = running.stdout.slice(0, running.stdout.lastIndexOf("\n") + 1);
  return eventsOf(whole).filter((line) => line["event"] === event);
}

async function halted(running: Running, code: string): Promise<void> {
  await running.until(`halts with ${code}`, () => told(running, "halt").at(-1)?.["code"] === code);
}

async function liveAgain(running: Running, times: number): Promise<void> {
  await running.until(`is live ${times} times`, () => told(running, "live").length >= times);
}

function entryCount(folder: string): number {
  return readdirSync(folder, { recursive: true }).length;
}

async function status({ home }: Place, t: TestContext): Promise<Record<string, unknown>> {
  const { stdout } = await runProgram(t, ["status", "--json"], { home });
  return eventsOf(stdout)[0] ?? {};
}

function resume(t: TestContext, { home }: Place, ...more: string[]): ReturnType<typeof runProgram> {
  return runProgram(t, ["resume", ...more], { home });
}

async function stops(running: Running, exit: number): Promise<void> {
  running.kill("SIGTERM");
  assert.equal((await running.end()).exit, exit);
}

test("an emptied source halts; resume empties the target and goes on mirroring", async (t) => {
  const where = place(t);
  const { source, target } = where;
  const running = sync(t, where);
  await running.said(/"event":"live"/);
  const before = entryCount(target);
  for (const name of readdirSync(source)) rmSync(join(source, name), { recursive: true });
  await running.until("halts", () => told(running, "halt").length > 0);
  // Part of it may have gone out as ordinary deletions before it was too much.
  assert.ok(entryCount(target) >= before / 2, "more than half is still there");
  const { state, halts } = await status(where, t);
  assert.equal(state, "halted");
  assert.match(JSON.stringify(halts), /ROOT_EMPTIED|TOO_MANY_DELETES/);
  const table = await runProgram(t, ["status"], { home: where.home });
  assert.match(table.stdout, /is halted: (ROOT_EMPTIED|TOO_MANY_DELETES): .*would be deleted/);
  writeFileSync(join(source, "made while halted"), "");
  assert.equal((await resume(t, where)).exit, 0);
  await liveAgain(running, 2);
  assert.deepEqual(readdirSync(target), ["made while halted"]);
  writeFileSync(join(source, "made after"), "");
  await running.until("mirrors again", () => existsSync(join(target, "made after")));
  const again = await resume(t, where);
  assert.equal(again.exit, 1);
  assert.match(again.stderr, /NOTHING_HALTED/);
  await stops(running, 0);
});

test("rm -rf of the source halts; resume refuses until the folder is back", async (t) => {
  const where = place(t);
  const { source, target } = where;
  const running = sync(t, where);
  await running.said(/"event":"live"/);
  const before = entryCount(target);
  rmSync(source, { recursive: true });
  await halted(running, "ROOT_REPLACED");
  assert.ok(entryCount(target) >= before / 2);
  const kept = entryCount(target);
  const refused = await resume(t, where);
  assert.equal(refused.exit, 5);
  assert.match(refused.stderr, /does not exist/);
  mkdirSync(source);
  assert.equal((await resume(t, where)).exit, 0);
  // An empty folder is asked about once more.
  await halted(running, "ROOT_EMPTIED");
  assert.equal(entryCount(target), kept);
  await stops(running, 5);
  assert.equal(entryCount(target), kept);
});

test("a replaced source is mirrored after resume of the source by name", async (t) => {
  const where = place(t);
  const { source, target } = where;
  const running = sync(t, where);
  await running.said(/"event":"live"/);
  const before = entryCount(target);
  renameSync(source, `${source}.old`);
  mkdirSync(source);
  writeFileSync(join(source, "new"), "new");
  await halted(running, "ROOT_REPLACED");
  assert.equal(entryCount(target), before);
  const other = await resume(t, where, "--source", target);
  assert.equal(other.exit, 1);
  assert.equal((await resume(t, where, "--source", source)).exit, 0);
  await liveAgain(running, 2);
  assert.deepEqual(readdirSync(target), ["new"]);
  await stops(running, 0);
});

test("a source emptied while nothing ran halts at the start and deletes nothing", async (t) => {
  const where = place(t);
  const { source, target } = where;
  const first = await runProgram(t, ["sync", source, target, "--once"], { home: where.home });
  assert.equal(first.exit, 0);
  const before = entryCount(target);
  for (const name of readdirSync(source)) rmSync(join(source, name), { recursive: true });
  const once = await runProgram(t, ["sync", source, target, "--once", "--json"], {
    home: where.home,
  });
  assert.equal(once.exit, 5);
  const events = eventsOf(once.stdout);
  assert.deepEqual(events.map(({ event, code }) => [event, code]).slice(1), [
    ["halt", "ROOT_EMPTIED"],
    ["end", "ROOT_EMPTIED"],
  ]);
  assert.equal(entryCount(target), before);
  const agreed = ["sync", source, target, "--once", "--max-delete", "100%"];
  assert.equal((await runProgram(t, agreed, { home: where.home })).exit, 0);
  assert.equal(entryCount(target), 0);
});

for (const [limit, allowed, excess] of [
  ["20", 20, 1],
  ["20%", 12, 1],
] as const) {
  test(`--max-delete ${limit} lets ${allowed} entries go, and halts before more`, async (t) => {
    const where = place(t);
    const { source, target } = where;
    const running = sync(t, where, "--max-delete", limit);
    await running.said(/"event":"live"/);
    const file = (root: string, i: number): string => join(root, `d${i % 3}`, `f${i}`);
    for (let i = 0; i < allowed; i++) rmSync(file(source, i));
    await running.until("deletes", () => !existsSync(file(target, allowed - 1)));
    assert.deepEqual(told(running, "halt"), []);
    const gone = file(source, allowed);
    for (let i = 0; i < excess; i++) rmSync(gone);
    await halted(running, "TOO_MANY_DELETES");
    writeFileSync(join(source, "while halted"), "");
    // Nothing shows that something is not going to happen: it has had its time.
    await sleep(300);
    assert.ok(existsSync(file(target, allowed)), "nothing is deleted");
    assert.ok(!existsSync(join(target, "while halted")), "nothing is sent");
    assert.equal((await resume(t, where)).exit, 0);
    await running.until("goes on", () => existsSync(join(target, "while halted")));
    await liveAgain(running, 2);
    assert.ok(!existsSync(file(target, allowed)));
    await stops(running, 0);
  });
}

test("stopped by a signal while it is halted, it ends with code 5", async (t) => {
  const where = place(t);
  const running = sync(t, where, "--max-delete", "0");
  await running.said(/"event":"live"/);
  rmSync(join(where.source, "d0/f0"));
  await halted(running, "TOO_MANY_DELETES");
  await stops(running, 5);
  assert.equal(statSync(join(where.target, "d0/f0")).isFile(), true);
  assert.equal(told(running, "end").at(-1)?.["exit"], 5);
});

/** With a target that is a filesystem of its own, of so many MiB. */
function onMount(t: TestContext, mebibytes: number): Place {
  const target = mkdtempSync(join(tmpdir(), "lockstep-full-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${mebibytes}m`, "tmpfs", target]);
  t.after(() => {
    execFileSync("umount", ["-l", target]);
    rmdirSync(target);
  });
  return { ...place(t), target };
}

function enlarge({ target }: Place, mebibytes: number): void {
  execFileSync("mount", ["-o", `remount,size=${mebibytes}m`, target]);
}

const mountSkip = process.getuid?.() === 0 ? false : "needs root to mount a tmpfs";
const MiB = 1 << 20;

test("a target short of space waits, and goes on by itself", { skip: mountSkip }, async (t) => {
  const where = onMount(t, 16);
  const { source, target } = where;
  const running = sync(t, where, "--min-free", "8M");
  await running.said(/"event":"live"/);
  writeFileSync(join(source, "big"), Buffer.alloc(12 * MiB, 1));
  await halted(running, "TARGET_LOW");
  assert.match(JSON.stringify(await status(where, t)), /"state":"halted".*"code":"TARGET_LOW"/);
  writeFileSync(join(source, "behind"), "waits too");
  enlarge(where, 64);
  await running.until("goes on", () => existsSync(join(target, "behind")));
  assert.equal(statSync(join(target, "big")).size, 12 * MiB);
  assert.equal(told(running, "resume").length, 1);
  assert.deepEqual(told(running, "problem"), []);
  await stops(running, 0);
});

test("a person may fill a target up; a signal does not", { skip: mountSkip }, async (t) => {
  const where = onMount(t, 16);
  const { source, target } = where;
  writeFileSync(join(source, "big"), Buffer.alloc(12 * MiB, 1));
  const args = ["sync", source, target, "--once", "--min-free", "50%"];
  const once = await runProgram(t, args, { home: where.home });
  assert.equal(once.exit, 5);
  assert.match(once.stderr, /TARGET_LOW/);
  const stopped = sync(t, where, "--min-free", "50%");
  await halted(stopped, "TARGET_LOW");
  await stops(stopped, 5);
  const running = sync(t, where, "--min-free", "50%");
  await halted(running, "TARGET_LOW");
  assert.equal((await resume(t, where)).exit, 0);
  await running.said(/"event":"live"/);
  assert.equal(statSync(join(target, "big")).size, 12 * MiB);
  await stops(running, 0);
});

test("a target that is full halts, and is tried again", { skip: mountSkip }, async (t) => {
  const where = onMount(t, 8);
  writeFileSync(join(where.source, "big"), Buffer.alloc(12 * MiB, 1));
  const running = sync(t, where, "--min-free", "0");
  await halted(running, "TARGET_FULL");
  enlarge(where, 64);
  await running.said(/"event":"live"/);
  assert.equal(statSync(join(where.target, "big")).size, 12 * MiB);
  assert.deepEqual(
    told(running, "resume").map(({ code }) => code),
    ["TARGET_FULL"],
  );
  await stops(running, 0);
});
