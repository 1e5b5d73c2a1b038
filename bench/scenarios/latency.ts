/**
 * Scenario 1: how long after write() has returned are its bytes in the target?
 *
 * 128 bytes at random aligned places of a 4 KiB file, one record outstanding at a time, paced 1 ms
 * and 5 ms for the fast subjects, which are live at once and take short turns. The slow ones (tools
 * that start a process or wait for a quiet second) get few records at a jittered pace of 100 to
 * 1100 ms, and are set against the floor's 5 ms of the same round's first turn.
 */
import { join } from "node:path";
import { ratioByRound, showRatio, showUs, summarize } from "../measures.ts";
import { stopwatch, type StopwatchResult } from "../programs.ts";
import { fastSubjects, floor, slowSubjects, type Subject } from "../subjects/index.ts";
import {
  Field,
  type Live,
  type Scenario,
  type Settings,
  rotated,
  withAllLive,
} from "./scenario.ts";

const record = { file: "record.bin", bytes: 4096, sparse: false };
const recordBytes = 128;
/** Of each fast subject, in a round. */
const turnsPerRound = 8;

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
    settings.say(`latency: round ${round + 1} of ${rounds}`);
    const subjects = field.turns(round);
    const fast = subjects.filter(({ speed }) => speed === "fast");
    await withAllLive(settings, field, fast, record, async (all) => {
      for (let turn = 0; turn < turnsPerRound; turn += 1) {
        for (const live of rotated(all, turn)) await take(live, round * turnsPerRound + turn);
      }
    });
    for (const subject of subjects.filter(({ speed }) => speed === "slow")) {
      await withAllLive(settings, field, [subject], record, async (all) => {
        for (const live of all) await take(live, round * turnsPerRound);
      });
    }
  }
  async function take(live: Live, turn: number): Promise<void> {
    const { name } = live.subject;
    if (!field.has(live.subject)) return;
    const measured = await field.attempt(name, () => measureTurn(settings, live, turn));
    turns.push(...(measured ?? []));
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
      "Ratios are formed in each turn and shown as median (min..max).",
      "(at least): p99 if each record came right after the observer's last look in vain.",
      ...slowSubjects.map(({ name, configuration }) => `${name}: ${configuration}.`),
    ],
    skipped: field.skips,
    data: { fileBytes: record.bytes, recordBytes, rounds, turns },
  };
};

function pacesOf(subject: Subject, quick: boolean): readonly Pace[] {
  if (subject.speed === "slow") {
    const slow = { paceUs: 100_000, jitterUs: 1_000_000, warmup: 2, timeoutMs: 20_000 };
    return [{ label: "0.1-1.1 s", count: quick ? 4 : 10, ...slow }];
  }
  const fast = { jitterUs: 0, count: quick ? 50 : 250, warmup: 30, timeoutMs: 2000 };
  return [
    { label: "1 ms", paceUs: 1000, ...fast },
    { label: "5 ms", paceUs: 5000, ...fast },
  ];
}

async function measureTurn(settings: Settings, live: Live, round: number): Promise<Turn[]> {
  const { subject, pair } = live;
  const turns: Turn[] = [];
  for (const pace of pacesOf(subject, settings.quick)) {
    const result = await stopwatch({
      source: join(pair.source, record.file),
      target: join(pair.target, record.file),
      ...pace,
      sizeBytes: recordBytes,
      offset: "random",
      readyMs: 60_000,
    });
    turns.push({ subject: subject.name, pace: pace.label, round, ...result });
  }
  return turns;
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
