/**
 * Scenario 4: many small writes. K writes of 128 bytes a second for T seconds over 1,000 files of
 * 4 KiB; then: was the rate reached, how long after the last write is the target equal, and is it
 * equal at all (nothing lost)?
 *
 * Equality is judged by comparing all bytes of all files (treecmp.c). "none" is the load without a
 * synchronizer: what the machine can do at most.
 */
import { join } from "node:path";
import { showNumber, showUs, summarize } from "../measures.ts";
import { compareTrees, loadWrites, makeTree } from "../programs.ts";
import { lockstepLink, lockstepLocal, slowSubjects, type Subject } from "../subjects/index.ts";
import { withPair } from "../workspace.ts";
import { Field, type Scenario, type Settings } from "./scenario.ts";

const files = 1000;
const fileBytes = 4096;
const firstFile = join("d0000", "f000000");

const none: Subject = {
  name: "none",
  speed: "fast",
  configuration: "nothing runs",
  unavailable: async () => undefined,
  start: async () => ({ port: undefined, stop: async () => {} }),
};

interface Turn {
  readonly subject: string;
  readonly round: number;
  readonly written: number;
  readonly perSecond: number;
  /** Milliseconds from the last write to equality; undefined if that never came. */
  readonly lagMs: number | undefined;
  readonly different: number;
}

/** Runs scenario 4; see the file's header. */
export const writes: Scenario = async (settings) => {
  const rounds = settings.rounds ?? (settings.quick ? 1 : 2);
  const subjects = [none, lockstepLink, lockstepLocal, ...slowSubjects];
  const load = { files, bytes: fileBytes, perSecond: 50_000, durationMs: 60_000 };
  if (settings.quick) load.durationMs = 5000;
  const field = await new Field({
    ...settings,
    takesPart: (name) => name === none.name || settings.takesPart(name),
  }).admit(subjects);
  const turns: Turn[] = [];
  for (let round = 0; round < rounds; round += 1) {
    for (const subject of field.turns(round)) {
      settings.say(`writes: round ${round + 1} of ${rounds}, ${subject.name}`);
      const turn = await field.attempt(subject.name, () =>
        measureTurn(settings, subject, round, load),
      );
      if (turn !== undefined) turns.push(turn);
    }
  }
  return {
    scenario: "writes",
    title: `${load.perSecond} writes/s of 128 B for ${load.durationMs / 1000} s, ${files} files`,
    columns: ["subject", "rounds", "written", "reached /s", "lag p50", "lag max", "lost files"],
    rows: subjects.flatMap((subject) => rowOf(turns, subject.name)),
    notes: [
      "Lag: from the last write until the last change of a target all of whose bytes are equal,",
      "rounded up by a tick of the kernel's clock (4 ms at 250 Hz). Lost: files never equal.",
      "`none` runs no synchronizer; its rate is the machine's limit.",
    ],
    skipped: field.skips,
    data: { load, rounds, turns },
  };
};

async function measureTurn(
  settings: Settings,
  subject: Subject,
  round: number,
  load: Parameters<typeof loadWrites>[1],
): Promise<Turn> {
  return withPair(settings.folder, async (pair) => {
    await makeTree(pair.source, { files, bytes: fileBytes });
    const running = await subject.start({ pair, file: firstFile, fileBytes });
    try {
      if (subject !== none) await compareTrees(pair.source, pair.target, 60_000);
      const { written, seconds, endedNs } = await loadWrites(pair.source, load);
      const perSecond = written / seconds;
      if (subject === none) {
        return { subject: subject.name, round, written, perSecond, lagMs: 0, different: 0 };
      }
      const { equalNs, different } = await compareTrees(pair.source, pair.target, 60_000);
      const lagMs = equalNs === undefined ? undefined : Math.max(0, equalNs - endedNs) / 1e6;
      return { subject: subject.name, round, written, perSecond, lagMs, different };
    } finally {
      await running.stop();
    }
  });
}

function rowOf(turns: readonly Turn[], subject: string): string[][] {
  const own = turns.filter((turn) => turn.subject === subject);
  if (own.length === 0) return [];
  const rate = summarize(own.map((turn) => turn.perSecond));
  const lag = summarize(own.flatMap((turn) => turn.lagMs ?? []));
  const isBase = subject === none.name;
  return [
    [
      subject,
      `${own.length}`,
      `${own.reduce((sum, turn) => sum + turn.written, 0)}`,
      showNumber(rate?.p50),
      isBase ? "" : showUs(lag && lag.p50 * 1000),
      isBase ? "" : showUs(lag && lag.max * 1000),
      isBase ? "" : `${own.reduce((sum, turn) => sum + turn.different, 0)}`,
    ],
  ];
}
