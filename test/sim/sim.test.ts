/**
 * The whole engine on a simulated world: a fixed set of seeds, the seeds that have found something,
 * and proof that the oracle can fail. More by hand: `npm run sim -- --seed N --runs K`.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DirtySet } from "../../src/cut/index.ts";
import { checkSeed } from "./check-seed.ts";
import { HeldCalls } from "./held-calls.ts";
import { faultKinds, type FaultKind } from "./faults.ts";
import { fixedSeeds, heldSeeds, keptSeeds, stepCountUsual } from "./seeds.ts";
import { Simulation, type SimulationResult } from "./simulation.ts";

const runsAll = process.env["LOCKSTEP_WORKLOADS"] === "all";
const factor = runsAll ? 50 : 1;

async function runSet(
  { first, count }: { first: number; count: number },
  faults: readonly FaultKind[],
): Promise<SimulationResult[]> {
  const results: SimulationResult[] = [];
  for (let seed = first; seed < first + count * factor; seed++) {
    const checked = await checkSeed(seed, { steps: stepCountUsual, faults, isTwice: true });
    const again = `npm run sim -- --seed ${seed}${faults.length === 0 ? " --faults none" : ""}`;
    assert.equal(checked.failure, undefined, again);
    results.push(checked.result);
  }
  return results;
}

function sum(results: readonly SimulationResult[], of: (one: SimulationResult) => number): number {
  return results.reduce((total, one) => total + of(one), 0);
}

test("without faults every commit is a past state of the source", async (t) => {
  const results = await runSet(fixedSeeds.quiet, []);
  const checked = sum(results, (one) => one.checkedCount);
  const fuzzy = sum(results, (one) => one.fuzzyCount);
  t.diagnostic(`${checked} commits compared, ${fuzzy} fuzzy`);
  assert.ok(checked >= 10 * results.length, "there was something to compare");
  assert.ok(fuzzy * 20 < checked, `${fuzzy} fuzzy epochs beside ${checked}`);
});

test("with faults, too, and when all has healed the target equals the source", async (t) => {
  const results = await runSet(fixedSeeds.faulty, faultKinds);
  const kills = sum(results, (one) => one.killCount);
  const links = sum(results, (one) => one.linkCount);
  const checked = sum(results, (one) => one.checkedCount);
  t.diagnostic(`${checked} commits compared, ${kills} kills, ${links} links`);
  assert.ok(checked > 0 && links > results.length, "faults have happened");
});

test("what once was wrong is not any more", async () => {
  for (const { seed, faults, found } of keptSeeds) {
    const checked = await checkSeed(seed, {
      steps: stepCountUsual,
      faults,
      isTwice: false,
      isCoarse: true,
    });
    assert.equal(checked.failure, undefined, `seed ${seed} had found: ${found}`);
  }
});

test("the trace of a run is the seed's", async () => {
  const digests = new Set<string>();
  for (const seed of [1, 2]) {
    const { digest } = await new Simulation({ seed, steps: 50, faults: [] }).run();
    digests.add(digest);
  }
  assert.equal(digests.size, 2);
});

/** Cuts that are never validated: what was read is forgotten, so nothing can conflict with it. */
async function withoutValidation(run: () => Promise<void>): Promise<void> {
  const { noteRead, noteNamesRead } = DirtySet.prototype;
  DirtySet.prototype.noteRead = () => {};
  DirtySet.prototype.noteNamesRead = () => {};
  try {
    await run();
  } finally {
    Object.assign(DirtySet.prototype, { noteRead, noteNamesRead });
  }
}

test("negative control: when no capture says what is under way the oracle says so", async () => {
  const { underWay } = HeldCalls.prototype;
  HeldCalls.prototype.underWay = (looks) => ({
    nextLook: looks.nextLook,
    mayBeRead: () => false,
    rest: () => {},
  });
  let failure: string | undefined;
  try {
    for (let seed = heldSeeds.first; seed < heldSeeds.first + heldSeeds.count; seed++) {
      ({ failure } = await new Simulation({ seed, steps: stepCountUsual, faults: [] }).run());
      if (failure !== undefined) break;
    }
  } finally {
    HeldCalls.prototype.underWay = underWay;
  }
  assert.match(failure ?? "", /^the target is as the source has never been/);
});

test("negative control: when cuts are not validated the oracle says so", async () => {
  const { first, count } = fixedSeeds.quiet;
  let foundCount = 0;
  await withoutValidation(async () => {
    for (let seed = first; seed < first + count; seed++) {
      const options = { seed, steps: stepCountUsual, faults: [] };
      const { failure } = await new Simulation(options).run();
      if (failure?.startsWith("the target is as the source has never been") === true) foundCount++;
    }
  });
  assert.ok(foundCount > 0, "no seed of the fixed set has noticed");
});
