/**
 * The link between source and target fails at random moments: while the target is made equal, while
 * it is compared again, and while changes go over. Neither program is restarted: they must find
 * each other again by themselves, the target must become equal, and nothing may pile up or be left
 * over.
 *
 * LOCKSTEP_WORKLOADS_LINK_FAULTS is how many moments (2; 200 with LOCKSTEP_WORKLOADS=all);
 * LOCKSTEP_WORKLOADS_SEED draws the same changes and faults again (moments differ).
 */
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { formatDifference } from "../../src/verify/index.ts";
import { runProgram, type Running } from "../cli/program.ts";
import { BreakableLink, type LinkEnd, whyNoBreakableLink } from "./breakable-link.ts";
import { disturb } from "./disturb.ts";
import { linkPair, type LinkPair } from "./link-pair.ts";
import { compareFolders } from "./mirror.ts";
import { findPython, runPython } from "./python.ts";
import { Random } from "./random-changes.ts";

const isLarge = process.env["LOCKSTEP_WORKLOADS"] === "all";
const faultCount = Number(process.env["LOCKSTEP_WORKLOADS_LINK_FAULTS"] ?? (isLarge ? 200 : 2));
const wantedSeed = process.env["LOCKSTEP_WORKLOADS_SEED"];
/** Moments between which both programs go on, and the target is not emptied. */
const momentsOfOneRun = 10;
/** Longer than a side waits for a word of the other. */
const silenceMs = 24_000;
const silent = "silent";
const convergeMs = 90_000;
const memoryBytesMax = 500 * 2 ** 20;
/** So that a fault finds something under way. */
const megabits = 300;

test(
  `the link fails at ${faultCount} random moments, and the target becomes equal again`,
  { skip: whyNoBreakableLink() },
  async (context) => {
    const seed = wantedSeed === undefined ? randomInt(2 ** 31) : Number(wantedSeed);
    context.diagnostic(`LOCKSTEP_WORKLOADS_SEED=${seed}`);
    const random = new Random(seed);
    const link = new BreakableLink(context);
    if (!link.slow("near", megabits))
      context.diagnostic("no tc-tbf: the link is as fast as can be");
    const ends = { near: link.prefix("near"), far: link.prefix("far") };
    const pair = await linkPair(context, { address: link.address, ...ends });
    for (let i = 0; i < 100; i++) disturb(random, pair.source);
    const times: number[] = [];
    for (let done = 0; done < faultCount; done += momentsOfOneRun) {
      const count = Math.min(momentsOfOneRun, faultCount - done);
      for (const name of readdirSync(pair.target)) {
        rmSync(join(pair.target, name), { recursive: true, force: true });
      }
      const serving = await pair.serve();
      const syncing = pair.sync("--max-delete", "100%");
      const faults: string[] = [];
      for (let i = 0; i < count; i++) {
        const what = `moment ${done + i + 1}, seed ${seed}`;
        // The first is while the target is seeded.
        if (i > 0) await syncing.said(/"event":"live"/);
        faults.push(await failOnce(random, link, pair, i === 0 ? 1200 : 600));
        // While it is compared again, or before that.
        if (random.below(3) === 0) faults.push(await failOnce(random, link, pair, 800));
        const startedMs = performance.now();
        await untilEqual(pair, `${what}: ${faults.join(", ")}`, () => told(serving, syncing));
        times.push(performance.now() - startedMs);
      }
      const what = `up to ${done + count}, seed ${seed}`;
      // One side or the other has found out by itself; otherwise it had no need to.
      const wasSilent = /silent for too long/.test(serving.stdout + syncing.stdout);
      assert.equal(
        wasSilent,
        faults.some((fault) => fault.endsWith(silent)),
        what,
      );
      await judge(context, pair, link, [serving, syncing], what);
    }
    times.sort((a, b) => a - b);
    const at = (part: number): string => `${Math.round(times.at(part * times.length) ?? 0)} ms`;
    context.diagnostic(`equal again after ${at(0.5)} (half), ${at(0.9)}, ${at(-1 / times.length)}`);
  },
);

/** Goes on with changes, lets the link fail, and heals it. Returns what it did. */
async function failOnce(
  random: Random,
  link: BreakableLink,
  pair: LinkPair,
  startMs: number,
): Promise<string> {
  const busy = async (ms: number): Promise<void> => {
    const endMs = performance.now() + ms;
    do {
      disturb(random, pair.source);
      await sleep(random.below(5));
    } while (performance.now() < endMs);
  };
  await busy(random.below(startMs));
  const end = random.pick<LinkEnd>(["near", "far"])!;
  const draw = random.below(20);
  if (draw < 7) {
    const ms = random.below(isLarge ? 3000 : 500);
    link.down(end);
    await busy(ms);
    link.heal();
    return `${end} down for ${ms} ms`;
  }
  if (draw < 12) {
    link.reset(end);
    return `${end} reset`;
  }
  if (draw < 15 || (draw === 19 && !isLarge)) {
    // The target's side of the connection is left over: a new link must take its place.
    link.move();
    return "near moved";
  }
  if (draw < 19) {
    // The other end never hears of it: its side of the connection is left over.
    for (const each of ["near", "far"] as const) link.swallow(each);
    link.reset(end);
    await busy(random.below(1000));
    link.heal();
    return `${end} reset unheard`;
  }
  const isBoth = random.below(2) === 0;
  for (const each of isBoth ? (["near", "far"] as const) : [end]) link.swallow(each);
  await busy(silenceMs);
  link.heal();
  return `${isBoth ? "both" : end} ${silent}`;
}

/** What a run must have kept to, seen from outside; then both are stopped. */
async function judge(
  context: TestContext,
  pair: LinkPair,
  link: BreakableLink,
  runs: readonly Running[],
  what: string,
): Promise<void> {
  const verified = await pair.verify().end();
  assert.equal(verified.exit, 0, `${what}: ${verified.stdout}${verified.stderr}`);
  if (findPython([]) !== undefined) {
    const folders = [pair.source, pair.target];
    await runPython("walk-tree.py", folders, { prefix: [], cwd: dirname(pair.source) });
  }
  const asked = await runProgram(context, ["status", "--json"], { home: pair.far });
  const links = /"links":(\[.*?\])/.exec(asked.stdout)?.[1] ?? "";
  assert.equal(links.split('"peer"').length - 1, 1, `${what}: one session: ${asked.stdout}`);
  for (const end of ["near", "far"] as const) {
    assert.equal(link.connectionCount(end), 1, `${what}: connections of ${end}`);
  }
  for (const run of runs) {
    const status = readFileSync(`/proc/${run.pid}/status`, "utf8");
    const kilobytes = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]);
    assert.ok(kilobytes * 1024 < memoryBytesMax, `${what}: ${kilobytes} kB of memory`);
    context.diagnostic(`${what}: ${Math.round(kilobytes / 1024)} MiB at most`);
  }
  for (const run of [...runs].reverse()) {
    run.kill("SIGTERM");
    assert.equal((await run.end()).exit, 0, what);
  }
  const left = readdirSync(pair.target).filter((name) => name.startsWith(".lockstep"));
  assert.deepEqual(left, [], what);
}

function told(...runs: readonly Running[]): string {
  return runs.map(({ stdout }) => stdout.slice(-1500)).join("\n");
}

async function untilEqual(
  { source, target }: LinkPair,
  what: string,
  details: () => string,
): Promise<void> {
  const limit = performance.now() + convergeMs;
  for (;;) {
    const summary = await compareFolders({ source, target });
    if (summary.clean) return;
    const differences = summary.differences.slice(0, 5).map((one) => formatDifference(one));
    const isLate = performance.now() >= limit;
    if (isLate) assert.fail(`${what}: ${differences.join("; ")}\n${details()}`);
    await sleep(50);
  }
}
