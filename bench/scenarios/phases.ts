/**
 * What the scenarios of whole trees share: every seeder copies the same tree and is started again
 * with nothing to do; then all bytes are compared. One row for each product and phase.
 *
 * The comparison is made when all phases are done, so that the first restart can follow the first
 * copy at once. It still judges the first copy: had it not been equal when its product said that it
 * was done, then something would have changed later, and the judge tells the last change
 * (native/treecmp.c). "equal s" is that moment. So a product that touches the target when nothing
 * has changed shows a late one, too.
 */
import { ratioByRound, showNumber, showRatio, summarize } from "../measures.ts";
import { run } from "../processes.ts";
import { compareTrees } from "../programs.ts";
import { type Phase, type Seeder, seeders } from "../subjects/index.ts";
import type { Usage } from "../usage.ts";
import { type Pair, withPair } from "../workspace.ts";
import { Field, type ScenarioResult, type Settings } from "./scenario.ts";

const syncMs = 600_000;
const mebibyte = 1024 * 1024;

export interface TreePlan {
  readonly scenario: string;
  readonly title: string;
  readonly files: number;
  readonly rounds: number;
  readonly restarts: number;
  readonly notes: readonly string[];
  /** Fills the pair's source; the same in every round. */
  readonly makeSource: (folder: string) => Promise<void>;
}

/** One product's phases of one round, and what the judge says of their outcome. */
export interface TreeTurn {
  readonly subject: string;
  readonly round: number;
  readonly phases: readonly Phase[];
  /** The monotonic moment since which source and target are equal; undefined if they are not. */
  readonly equalNs: number | undefined;
  /** Files that differ, or are missing or too many. */
  readonly wrong: number;
}

export const phaseColumns: readonly string[] = [
  ...["subject", "phase", "rounds", "time s", "time / rsync", "files/s", "equal s"],
  ...["source cpu s", "target cpu s", "source MiB", "target MiB", "wrong files"],
];

const sharedNotes: readonly string[] = [
  "Time: to Lockstep's live, start of its process included; to rsync's exit. Equal: from the start",
  "of the seed to the last change of a target that has all bytes. Warm page cache, no fsync.",
  "A restart is the whole process of the sending side; the first follows the seed at once.",
  "MiB: peak of resident memory in that phase; of rsync's the largest process of the side (its",
  "daemon makes two for a run). In `local` one process is both sides.",
];

/** Runs `plan` with every seeder that takes part. */
export async function measureTrees(settings: Settings, plan: TreePlan): Promise<ScenarioResult> {
  const field = await new Field<Seeder>(settings).admit(seeders);
  const turns: TreeTurn[] = [];
  for (let round = 0; round < plan.rounds; round += 1) {
    for (const seeder of field.turns(round)) {
      settings.say(`${plan.scenario}: round ${round + 1} of ${plan.rounds}, ${seeder.name}`);
      const turn = await field.attempt(seeder.name, () =>
        withPair(settings.folder, (pair) => measureTurn(plan, seeder, pair, round)),
      );
      if (turn !== undefined) turns.push(turn);
    }
  }
  const names = seeders.map(({ name }) => name);
  const { scenario, title, files, rounds } = plan;
  return {
    scenario,
    title,
    columns: phaseColumns,
    rows: names.flatMap((name) => phaseRows(turns, { name, base: names[0] ?? "", files })),
    notes: [...sharedNotes, ...plan.notes],
    skipped: field.skips,
    data: { files, rounds, turns },
  };
}

async function measureTurn(
  plan: TreePlan,
  seeder: Seeder,
  pair: Pair,
  round: number,
): Promise<TreeTurn> {
  await plan.makeSource(pair.source);
  // What the bench has written must not be written back, or throttle, while a product is timed.
  await run("sync", ["-f", pair.source], { timeoutMs: syncMs });
  const phases = await seeder.run(pair, plan.restarts);
  const { equalNs, different, extra } = await compareTrees(pair.source, pair.target, 0);
  return { subject: seeder.name, round, phases, equalNs, wrong: different + extra };
}

/** The rows of one product: one for each phase, all of its rounds together. */
export function phaseRows(
  turns: readonly TreeTurn[],
  of: { readonly name: string; readonly base: string; readonly files: number },
): string[][] {
  const own = turns.filter((turn) => turn.subject === of.name);
  const inRound = (subject: string, round: number, phase: string) =>
    turns
      .find((turn) => turn.subject === subject && turn.round === round)
      ?.phases.find(({ name }) => name === phase);
  const wrong = own.reduce((sum, turn) => sum + turn.wrong, 0);
  return (own[0]?.phases ?? []).map(({ name: phase }, index) => {
    const found = own.flatMap((turn) => turn.phases.filter(({ name }) => name === phase));
    const seconds = summarize(found.map((one) => one.seconds))?.p50;
    const ratio = ratioByRound(
      own.map(({ round }) => inRound(of.name, round, phase)?.seconds),
      own.map(({ round }) => inRound(of.base, round, phase)?.seconds),
    );
    const isSeed = index === 0;
    return [
      isSeed ? of.name : "",
      phase,
      `${found.length}`,
      showNumber(seconds),
      of.name === of.base ? "" : showRatio(ratio),
      isSeed && seconds !== undefined ? showNumber(of.files / seconds) : "",
      isSeed ? showNumber(summarize(own.flatMap(equalSeconds))?.p50) : "",
      ...sides(found, (usages) => summarize(usages.map((used) => used.cpuSeconds))?.p50),
      ...sides(found, (usages) => {
        const most = summarize(usages.map((used) => used.peakBytes))?.max;
        return most === undefined ? undefined : most / mebibyte;
      }),
      isSeed ? `${wrong}` : "",
    ];
  });
}

function equalSeconds({ equalNs, phases }: TreeTurn): number[] {
  const beganNs = phases[0]?.beganNs;
  return equalNs === undefined || beganNs === undefined ? [] : [(equalNs - beganNs) / 1e9];
}

/** The cells of both sides; the target's is empty where one process is both. */
function sides(
  phases: readonly Phase[],
  pick: (usages: readonly Usage[]) => number | undefined,
): [string, string] {
  const targets = phases.flatMap(({ target }) => target ?? []);
  return [
    showNumber(pick(phases.map(({ source }) => source))),
    targets.length === 0 ? "" : showNumber(pick(targets)),
  ];
}
