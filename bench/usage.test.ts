import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { exists, sleep, start } from "./processes.ts";
import { buildPrograms, measureCommand, startMeasured } from "./programs.ts";
import { parsePeakBytes, parseStat, readUsage, resetPeaks, usedBetween } from "./usage.ts";

const canBuild = (await exists("gcc", ["--version"])) && (await exists("make", ["--version"]));
const options = { skip: canBuild ? false : "needs gcc and make" };
if (canBuild) await buildPrograms();

const soonMs = 20_000;
const mebibyte = 1024 * 1024;
/** Holds 64 MiB for a moment, then only a few, and says so; waits then. */
const spender = `
let held = Buffer.alloc(64 * 1024 * 1024, 1);
held = undefined;
globalThis.gc();
console.log("lean");
setInterval(() => {}, 1000);
`;

test("times of a process are those behind the last bracket of its name", () => {
  const text =
    "77 (a) R 1 (b) S 70 75 70 0 -1 4194560 900 10 0 0 250 50 30 20 20 0 11 0 500 1000 200 18446";
  assert.deepEqual(parseStat(text), { group: 75, isAlive: true, cpuSeconds: 3.5 });
  assert.equal(parseStat(text.replace("S", "Z"))?.isAlive, false);
  assert.equal(parseStat(""), undefined);
  assert.equal(parseStat("77 (a) S 70 75"), undefined);
});

test("the peak is VmHWM, and nothing for what has no memory", () => {
  assert.equal(parsePeakBytes("Name:\tnode\nVmPeak:\t 900 kB\nVmHWM:\t  2048 kB\n"), 2 * mebibyte);
  assert.equal(parsePeakBytes("Name:\tnode\nState:\tZ (zombie)\n"), 0);
});

test("between two readings times are subtracted, peaks are not", () => {
  const before = { cpuSeconds: 2, peakBytes: 900 };
  const after = { cpuSeconds: 2.5, peakBytes: 100 };
  assert.deepEqual(usedBetween(before, after), { cpuSeconds: 0.5, peakBytes: 100 });
});

test("a group's usage counts all of its processes, and its peak can be begun anew", async () => {
  const script = `"$0" --expose-gc -e '${spender}' & "$0" -e 'setInterval(() => {}, 1000)'`;
  const group = start("sh", ["-c", script, process.execPath]);
  try {
    await group.waitFor((line) => (line === "lean" ? true : undefined), soonMs);
    const first = await readUsage(group.pid);
    assert.ok(first.peakBytes > 64 * mebibyte);
    assert.ok(first.cpuSeconds > 0);
    await resetPeaks(group.pid);
    const second = await readUsage(group.pid);
    assert.ok(second.peakBytes < first.peakBytes - 32 * mebibyte);
    assert.ok(second.cpuSeconds >= first.cpuSeconds);
  } finally {
    await group.end();
  }
  await assert.rejects(readUsage(group.pid), /ended too early/);
});

test("a command that has ended is told with all its descendants", options, async () => {
  // The memory is a grandchild's, and the child does not wait for it.
  const script = `("$0" -e 'Buffer.alloc(96 * 1024 * 1024, 1)' &) ; exit 0`;
  const used = await measureCommand("sh", ["-c", script, process.execPath], soonMs);
  assert.ok(used.peakBytes > 96 * mebibyte);
  assert.ok(used.cpuSeconds > 0);
  const small = await measureCommand("true", [], soonMs);
  assert.ok(small.peakBytes < 16 * mebibyte, "what this process holds is not counted");
  await assert.rejects(measureCommand("sh", ["-c", "echo why >&2; exit 3"], soonMs), /3: why/);
});

test("a server that is measured tells what it has used when it is ended", options, async () => {
  const folder = await mkdtemp(join(tmpdir(), "lockstep-bench-test-"));
  try {
    const marker = join(folder, "ready");
    const script = `"$0" -e 'Buffer.alloc(96 * 1024 * 1024, 1)'; : >"$1"; exec sleep 60`;
    const server = startMeasured("sh", ["-c", script, process.execPath, marker]);
    for (let attempt = 0; attempt < 1000 && !existsSync(marker); attempt += 1) await sleep(20);
    assert.ok(existsSync(marker));
    const used = await server.end();
    assert.ok(used.peakBytes > 96 * mebibyte);
    await assert.rejects(readUsage(server.process.pid), /ended too early/);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
