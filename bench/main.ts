/**
 * The bench: runs the chosen scenarios side by side, prints one table each on stdout and writes
 * everything measured to bench/results/. See bench/README.md for the method.
 *
 * Exit 0 measured (skips are not failures), 1 failed, 2 usage, 130 interrupted. Progress goes to
 * stderr. Whatever ends the bench, its processes and temporary folders go with it.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { arch, cpus, release, tmpdir, totalmem } from "node:os";
import { join, resolve } from "node:path";
import { type Choices, isChosen, isLoadChosen, parseChoices, UsageError } from "./arguments.ts";
import { killAll } from "./processes.ts";
import { buildPrograms, repositoryRoot } from "./programs.ts";
import { cuts } from "./scenarios/cuts.ts";
import { extent } from "./scenarios/extent.ts";
import { journal } from "./scenarios/journal.ts";
import { latency } from "./scenarios/latency.ts";
import { memory } from "./scenarios/memory.ts";
import { overhead } from "./scenarios/overhead.ts";
import type { Scenario, ScenarioResult } from "./scenarios/scenario.ts";
import { seed } from "./scenarios/seed.ts";
import { stream } from "./scenarios/stream.ts";
import { writes } from "./scenarios/writes.ts";
import { renderTable } from "./table.ts";
import { removeAllPairs } from "./workspace.ts";

const scenarios: Readonly<Record<string, Scenario>> = {
  latency,
  extent,
  overhead,
  writes,
  stream,
  seed,
  memory,
  cuts,
  journal,
};

const usage = `usage: node dist/bench/main.js [options]
  --only A,B       of: ${Object.keys(scenarios).join(", ")}
  --subjects A,B   only subjects whose name contains A or B (the floor always runs)
  --loads A,B      of cuts: only loads whose name contains A or B
  --quick          fewer records, rounds and bytes
  --rounds N       interleaved rounds
  --dir FOLDER     where to work, and so the filesystem measured (default: the system's temporary)
  --json           print JSON instead of tables`;

async function main(argv: readonly string[]): Promise<number> {
  const choices = parseChoices(argv, Object.keys(scenarios));
  if (choices.help) {
    console.log(usage);
    return 0;
  }
  await buildPrograms();
  const chosen = Object.entries(scenarios).filter(
    ([name]) => choices.only.length === 0 || choices.only.includes(name),
  );
  const results: ScenarioResult[] = [];
  const began = new Date();
  for (const [, scenario] of chosen) {
    const result = await scenario({
      folder: resolve(choices.folder ?? tmpdir()),
      quick: choices.quick,
      rounds: choices.rounds,
      takesPart: (name) => isChosen(choices, name),
      takesLoad: (name) => isLoadChosen(choices, name),
      say: (text) => console.error(text),
    });
    results.push(result);
    // After each scenario, so that an interrupted run keeps what it has measured.
    await save(began, choices, results);
    if (!choices.json) print(result);
  }
  if (choices.json) console.log(JSON.stringify(report(began, choices, results)));
  return 0;
}

function print(result: ScenarioResult): void {
  console.log(`\n${result.scenario}: ${result.title}\n`);
  console.log(renderTable(result.columns, result.rows));
  for (const note of result.notes) console.log(`  ${note}`);
  for (const { subject, reason } of result.skipped) console.log(`  skipped ${subject}: ${reason}`);
}

function report(began: Date, choices: Choices, results: readonly ScenarioResult[]) {
  return {
    began: began.toISOString(),
    quick: choices.quick,
    host: {
      kernel: release(),
      arch: arch(),
      cpus: cpus().length,
      memoryBytes: totalmem(),
      node: process.version,
    },
    results,
  };
}

async function save(
  began: Date,
  choices: Choices,
  results: readonly ScenarioResult[],
): Promise<void> {
  const folder = join(repositoryRoot, "bench/results");
  await mkdir(folder, { recursive: true });
  const text = `${JSON.stringify(report(began, choices, results), null, 1)}\n`;
  const name = began.toISOString().replaceAll(":", "-").slice(0, 19);
  await writeFile(join(folder, `${name}.json`), text);
  await writeFile(join(folder, "latest.json"), text);
}

function leave(code: number): never {
  killAll();
  removeAllPairs();
  process.exit(code);
}

process.once("SIGINT", () => leave(130));
process.once("SIGTERM", () => leave(130));
try {
  leave(await main(process.argv.slice(2)));
} catch (error) {
  if (error instanceof UsageError) {
    console.error(`${error.message}\n\n${usage}`);
    leave(2);
  }
  console.error(error);
  leave(1);
}
