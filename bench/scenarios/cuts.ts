/**
 * Scenario 8: cuts under writers that do not rest. How many of the epochs that a source sends while
 * databases, and threads that overwrite the same pages, write into it are `fuzzy`: not of one
 * moment? And in how many rounds, and of what size, do cuts close?
 *
 * This is the one scenario that believes what Lockstep says of itself (`lockstep status --json`):
 * no observer outside can tell a clean cut from one that is not. That clean ones are true is what
 * the tests show (test/sim, test/contract, test/workloads). After the load all bytes are compared.
 */
import { showNumber } from "../measures.ts";
import { compareTrees } from "../programs.ts";
import { type Load, loads } from "../loads/index.ts";
import { type CutSubject, cutSubjects } from "../subjects/index.ts";
import type { CutCounts } from "../subjects/index.ts";
import { withPair } from "../workspace.ts";
import { Field, type Scenario, type Settings } from "./scenario.ts";

const equalMs = 60_000;

interface Turn extends CutCounts {
  readonly load: string;
  readonly subject: string;
  readonly round: number;
  readonly seconds: number;
  /** What the load itself counts: transactions or writes a second. */
  readonly perSecond: number;
  /** Files that differ, or are missing or too many, when the load has ended. */
  readonly wrong: number;
}

/** Runs scenario 8; see the file's header. */
export const cuts: Scenario = async (settings) => {
  const rounds = settings.rounds ?? 1;
  const durationMs = settings.quick ? 5000 : 30_000;
  const field = await new Field<CutSubject>(settings).admit(cutSubjects);
  const onlyLoads = { ...settings, takesPart: settings.takesLoad };
  const loadField = await new Field<Load>(onlyLoads).admit(loads);
  const turns: Turn[] = [];
  for (let round = 0; round < rounds; round += 1) {
    for (const load of loadField.turns(0)) {
      for (const subject of field.turns(round)) {
        settings.say(`cuts: round ${round + 1} of ${rounds}, ${load.name}, ${subject.name}`);
        const turn = await field.attempt(subject.name, () =>
          measureTurn(settings, { load, subject, round, durationMs }),
        );
        if (turn !== undefined) turns.push(turn);
      }
    }
  }
  return {
    scenario: "cuts",
    title: `epochs of one moment, while others write for ${durationMs / 1000} s`,
    columns: [
      ...["load", "subject", "load /s", "epochs", "fuzzy", "fuzzy %", "hot %"],
      ...["rounds/epoch", "KiB/epoch", "wrong files"],
    ],
    rows: loads.flatMap((load) =>
      cutSubjects.flatMap((subject) => rowOf(turns, load.name, subject.name)),
    ),
    notes: [
      "Fuzzy: an epoch that could not be closed at a moment of the source. Goal: under 1 % with",
      "pgbench and SQLite. Counted by Lockstep itself, from the load's begin to its end.",
      "Load /s: transactions of pgbench and SQLite, pages of 8 KiB of the others.",
    ],
    skipped: [...field.skips, ...loadField.skips],
    data: { durationMs, rounds, turns },
  };
};

async function measureTurn(
  settings: Settings,
  turn: { load: Load; subject: CutSubject; round: number; durationMs: number },
): Promise<Turn> {
  const { load, subject, round, durationMs } = turn;
  return withPair(settings.folder, async (pair) => {
    const prepared = await load.prepare(pair);
    try {
      const live = await subject.start(pair);
      try {
        const before = await live.counts();
        const began = performance.now();
        const perSecond = await prepared.run(durationMs);
        const after = await live.counts();
        const seconds = (performance.now() - began) / 1000;
        await prepared.stop();
        const { different, extra } = await compareTrees(pair.source, pair.target, equalMs);
        return {
          ...{ load: load.name, subject: subject.name, round, seconds, perSecond },
          epochs: after.epochs - before.epochs,
          fuzzyEpochs: after.fuzzyEpochs - before.fuzzyEpochs,
          hotEpochs: after.hotEpochs - before.hotEpochs,
          rounds: after.rounds - before.rounds,
          bytesSent: after.bytesSent - before.bytesSent,
          wrong: different + extra,
        };
      } finally {
        await live.stop();
      }
    } finally {
      await prepared.stop();
    }
  });
}

function rowOf(turns: readonly Turn[], load: string, subject: string): string[][] {
  const own = turns.filter((turn) => turn.load === load && turn.subject === subject);
  if (own.length === 0) return [];
  const sum = (pick: (turn: Turn) => number): number =>
    own.reduce((total, turn) => total + pick(turn), 0);
  const epochs = sum((turn) => turn.epochs);
  const fuzzy = sum((turn) => turn.fuzzyEpochs);
  return [
    [
      ...[load, subject, showNumber(sum((turn) => turn.perSecond) / own.length)],
      ...[`${epochs}`, `${fuzzy}`, percent(fuzzy, epochs)],
      percent(
        sum((turn) => turn.hotEpochs),
        epochs,
      ),
      showNumber(sum((turn) => turn.rounds) / epochs),
      showNumber(sum((turn) => turn.bytesSent) / epochs / 1024),
      `${sum((turn) => turn.wrong)}`,
    ],
  ];
}

function percent(part: number, whole: number): string {
  return whole === 0 ? "-" : ((part * 100) / whole).toFixed(2);
}
