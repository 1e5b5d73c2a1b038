/**
 * Scenario 1: how long after write() has returned are its bytes in the target?
 *
 * 128 bytes at random aligned places of a 4 KiB file, one record outstanding at a time, paced 1 ms
 * and 5 ms for the fast subjects. The slow ones (tools that start a process or wait for a quiet
 * second) get few records at a jittered pace of 100 to 1100 ms, and are set against the floor's
 * 5 ms of the same round.
 */
import { join } from "node:path";
import { ratioByRound, showRatio, showUs, summarize } from "../measures.ts";
import { stopwatch, type StopwatchResult } from "../programs.ts";
import { fastSubjects, floor, slowSubjects, type Subject } from "../subjects/index.ts";
import { Field, type Scenario, type Settings, withSubject } from "./scenario.ts";

const fileBytes = 4096;
const recordBytes = 128;

interface Pace {
  readonly label: string;
  readonly paceUs: number;
  readonly jitterUs: number;
  readonly count: number;
  readonly warmup: number;
  readonly timeoutMs: number;
}

interface Turn extends StopwatchResult {
  readonly subject: string;
  readonly pace: string;
  readonly round: number;
}

/** Runs scenario 1; see the file's header. */
export const latency: Scenario = async (settings) => {
  const rounds = settings.rounds ?? (settings.quick ? 3 : 5);
  const field = await new Field(settings).admit([...fastSubjects, ...slowSubjects]);
  const turns: Turn[] = [];
  for (let round = 0; round < rounds; round += 1) {
    for (const subject of field.turns(round)) {
      settings.say(`latency: round ${round + 1} of ${rounds}, ${subject.name}`);
      const measured = await field.attempt(subject.name, () =>
        measureTurn(settings, subject, round),
      );
      turns.push(...(measured ?? []));
    }
  }
  return {
    scenario: "latency",
    title: "write() returned -> bytes in the target file, 128 B",
    columns: [
      ...["subject", "pace", "n", "lost", "min", "p50", "p90", "p99", "(at least)", "max"],
      "p50 / floor p50",
    ],
    rows: [...fastSubjects, ...slowSubjects].flatMap((subject) => rowsOf(subject, turns)),
    notes: [
      "Ratios are formed in each round and shown as median (min..max).",
      "(at least): p99 if each record came right after the observer's last look in vain.",
      ...slowSubjects.map(({ name, configuration }) => `${name}: ${configuration}.`),
    ],
    skipped: field.skips,
    data: { fileBytes, recordBytes, rounds, turns },
  };
};

function pacesOf(subject: Subject, quick: boolean): readonly Pace[] {
  if (subject.speed === "slow") {
    const slow = { paceUs: 100_000, jitterUs: 1_000_000, warmup: 2, timeoutMs: 20_000 };
    return [{ label: "0.1-1.1 s", count: quick ? 4 : 10, ...slow }];
  }
  const fast = { jitterUs: 0, count: quick ? 400 : 2000, warmup: 50, timeoutMs: 2000 };
  return [
    { label: "1 ms", paceUs: 1000, ...fast },
    { label: "5 ms", paceUs: 5000, ...fast },
  ];
}

async function measureTurn(settings: Settings, subject: Subject, round: number): Promise<Turn[]> {
  const turn = { file: "record.bin", bytes: fileBytes, sparse: false };
  return withSubject(settings, subject, turn, async (pair) => {
    const turns: Turn[] = [];
    for (const pace of pacesOf(subject, settings.quick)) {
      const result = await stopwatch({
        source: join(pair.source, turn.file),
        target: join(pair.target, turn.file),
        ...pace,
        sizeBytes: recordBytes,
        offset: "random",
        readyMs: 60_000,
      });
      turns.push({ subject: subject.name, pace: pace.label, round, ...result });
    }
    return turns;
  });
}

function rowsOf(subject: Subject, turns: readonly Turn[]): string[][] {
  return pacesOf(subject, true).flatMap(({ label }) => {
    const own = turns.filter((turn) => turn.subject === subject.name && turn.pace === label);
    const summary = summarize(own.flatMap((turn) => turn.samples));
    if (own.length === 0) return [];
    const base = label === "1 ms" ? "1 ms" : "5 ms";
    const ratio = ratioByRound(
      own.map((turn) => summarize(turn.samples)?.p50),
      own.map((turn) => medianOf(turns, floor.name, base, turn.round)),
    );
    const lost = own.reduce((sum, turn) => sum + turn.lost, 0);
    const least = summarize(own.flatMap(leastOf));
    const { min, p50, p90, p99, max } = summary ?? {};
    const values = [min, p50, p90, p99, least?.p99, max];
    const cells = [`${summary?.n ?? 0}`, `${lost}`, ...values.map(showUs), showRatio(ratio)];
    return [[subject.name, label, ...cells]];
  });
}

/** What each latency was at least: up to the last look that did not see the record. */
function leastOf(turn: Turn): number[] {
  return turn.samples.map((sample, index) => sample - (turn.blinds[index] ?? 0));
}

function medianOf(
  turns: readonly Turn[],
  subject: string,
  pace: string,
  round: number,
): number | undefined {
  const found = turns.find(
    (turn) => turn.subject === subject && turn.pace === pace && turn.round === round,
  );
  return found && summarize(found.samples)?.p50;
}
