/**
 * Either side, or both, are killed at random moments: while the target is made equal, while it is
 * compared after changes that nobody saw, and while changes go over. After each restart the target
 * must become equal, and nothing but the mirror may be left in it.
 *
 * LOCKSTEP_WORKLOADS_CRASHES is how many (6; 200 with LOCKSTEP_WORKLOADS=all);
 * LOCKSTEP_WORKLOADS_SEED draws the same changes and victims again (moments differ).
 */
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { formatDifference } from "../../src/verify/index.ts";
import type { Running } from "../cli/program.ts";
import { compareFolders } from "./mirror.ts";
import { linkPair } from "./link-pair.ts";
import { disturb } from "./disturb.ts";
import { Random } from "./random-changes.ts";

const isLarge = process.env["LOCKSTEP_WORKLOADS"] === "all";
const crashCount = Number(process.env["LOCKSTEP_WORKLOADS_CRASHES"] ?? (isLarge ? 200 : 6));
const wantedSeed = process.env["LOCKSTEP_WORKLOADS_SEED"];
const convergeMs = 30_000;
const killMsMax = 500;

type Victims = "source" | "target" | "both";

test(`killed at ${crashCount} random moments the target becomes equal again`, async (context) => {
  const seed = wantedSeed === undefined ? randomInt(2 ** 31) : Number(wantedSeed);
  context.diagnostic(`LOCKSTEP_WORKLOADS_SEED=${seed}`);
  const random = new Random(seed);
  const { source, target, serve, sync } = await linkPair(context);
  // Random changes delete much: a halt would be right, and is not what is tried here.
  const start = (): Running => sync("--max-delete", "100%");
  for (let i = 0; i < 60; i++) disturb(random, source);
  for (let crash = 1; crash <= crashCount; crash++) {
    if (crash % 10 === 0) for (const name of readdirSync(target)) remove(join(target, name));
    const victims = random.pick<Victims>(["source", "target", "both"])!;
    const what = `crash ${crash} of the ${victims}, seed ${seed}`;
    const isLive = random.below(3) > 0;
    let serving = await serve();
    let syncing = start();
    if (isLive) await syncing.said(/"event":"live"/);
    const killAt = performance.now() + random.below(killMsMax);
    do {
      disturb(random, source);
      await sleep(random.below(5));
    } while (performance.now() < killAt);
    if (victims !== "target") syncing.kill("SIGKILL");
    if (victims !== "source") serving.kill("SIGKILL");
    if (victims !== "target") await syncing.end();
    if (victims !== "source") await serving.end();
    for (let i = random.below(20); i > 0; i--) disturb(random, source);
    if (victims !== "source") serving = await serve();
    if (victims !== "target") syncing = start();
    // It may be equal before it has begun to listen for signals.
    if (victims !== "target") await syncing.said(/"event":"live"/);
    await untilEqual(source, target, what);
    for (const running of [syncing, serving]) {
      running.kill("SIGTERM");
      assert.equal((await running.end()).exit, 0, what);
    }
    const left = readdirSync(target).filter((name) => name.startsWith(".lockstep"));
    assert.deepEqual(left, [], what);
  }
});

function remove(path: string): void {
  rmSync(path, { recursive: true, force: true });
}

async function untilEqual(source: string, target: string, what: string): Promise<void> {
  const limit = performance.now() + convergeMs;
  for (;;) {
    const summary = await compareFolders({ source, target });
    if (summary.clean) return;
    const differences = summary.differences.slice(0, 5).map((one) => formatDifference(one));
    assert.ok(performance.now() < limit, `${what}: ${differences.join("; ")}`);
    await sleep(50);
  }
}
