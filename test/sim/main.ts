/**
 * Runs the simulation from the command line: `npm run sim -- --seed N [--runs K]`.
 *
 *   --seed N       the first seed; drawn from the time if absent, and printed
 *   --runs K       so many seeds, one after the other (default 1)
 *   --seconds S    as many as there is time for
 *   --steps N      system calls of the application in each run
 *   --faults A,B   only these kinds of faults; `none`
 *   --trace        prints all that happens
 *   --once         does not run each seed twice
 *   --coarse       times of files move in ticks of 4 ms also with faults (Linux before 6.13)
 *
 * Every seed is run twice and the two traces are compared. A run that fails is run once more to say
 * which paths are wrong. Ends with 1 when any has failed, and prints the line that repeats it.
 */
import { parseArgs } from "node:util";
import { faultKinds, type FaultKind } from "./faults.ts";
import { checkSeed, type CheckOptions } from "./check-seed.ts";
import { stepCountUsual } from "./seeds.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    runs: { type: "string", default: "1" },
    seconds: { type: "string" },
    steps: { type: "string", default: `${stepCountUsual}` },
    faults: { type: "string", default: "all" },
    trace: { type: "boolean", default: false },
    once: { type: "boolean", default: false },
    coarse: { type: "boolean", default: false },
    quiet: { type: "boolean", default: false },
  },
});

function kindsOf(text: string): readonly FaultKind[] {
  if (text === "all") return faultKinds;
  if (text === "none") return [];
  const wanted = text.split(",");
  const unknown = wanted.filter((name) => !faultKinds.some((kind) => kind === name));
  if (unknown.length > 0) throw new Error(`no faults ${unknown.join(", ")}: ${faultKinds.join()}`);
  return faultKinds.filter((kind) => wanted.includes(kind));
}

async function main(): Promise<void> {
  const first = Number(values.seed ?? Date.now() % 1e9);
  const untilMs = Date.now() + Number(values.seconds ?? 0) * 1000;
  const runCount = values.seconds === undefined ? Number(values.runs) : Infinity;
  const options: CheckOptions = {
    steps: Number(values.steps),
    faults: kindsOf(values.faults),
    isTwice: !values.once,
    ...(values.coarse && { isCoarse: true }),
    ...(values.trace && { listen: (entry: string) => console.log(entry) }),
  };
  let failedCount = 0;
  let seedCount = 0;
  const sums = {
    hot: 0,
    touched: 0,
    commits: 0,
    checked: 0,
    recovered: 0,
    fuzzy: 0,
    states: 0,
    kills: 0,
    links: 0,
    events: 0,
  };
  for (
    let i = 0;
    i < runCount && (i === 0 || values.seconds === undefined || Date.now() < untilMs);
    i++
  ) {
    const seed = first + i;
    if (!values.quiet) console.log(`seed ${seed}`);
    const { failure, result } = await checkSeed(seed, options);
    seedCount++;
    sums.commits += result.commitCount;
    sums.checked += result.checkedCount;
    sums.recovered += result.recoveredCount;
    sums.fuzzy += result.fuzzyCount;
    sums.hot += result.hotCount;
    sums.touched += result.touchedCount;
    sums.states += result.stateCount;
    sums.kills += result.killCount;
    sums.links += result.linkCount;
    sums.events += result.eventCount;
    if (!values.quiet) {
      const faults = result.faults.join(",") || "no faults";
      console.log(
        `  ${result.digest} ${faults}: ${result.stateCount} states, ${result.commitCount} commits` +
          ` (${result.checkedCount} checked, ${result.recoveredCount} recovered,` +
          ` ${result.fuzzyCount} fuzzy),` +
          ` ${result.linkCount} links,` +
          ` ${result.killCount} kills, ${result.eventCount} events, ${result.virtualMs} ms`,
      );
    }
    if (failure === undefined) continue;
    failedCount++;
    const faults = values.faults === "all" ? "" : ` --faults ${values.faults}`;
    console.log(
      `FAILED: npm run sim -- --seed ${seed} --steps ${values.steps}${faults}\n${failure}`,
    );
  }
  const told = Object.entries(sums).map(([name, count]) => `${count} ${name}`);
  console.log(`${seedCount} seeds, ${failedCount} failed; ${told.join(", ")}`);
  if (failedCount > 0) process.exitCode = 1;
}

await main();
