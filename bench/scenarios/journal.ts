/**
 * Scenario 9: what the target's journal costs a small write.
 *
 * The same as `latency` at 1 ms, with the journal and without it, over a link and in one process.
 * What is compared differs by some microseconds, the machine from second to second by much more: so
 * all mirrors are live at once, and take short turns of a fraction of a second, many times. Two
 * without a journal take part, because what those differ by is what can be seen here at all.
 */
import { join } from "node:path";
import {
  quantile,
  type RatioSpread,
  ratioByRound,
  showRatio,
  showUs,
  summarize,
} from "../measures.ts";
import { stopwatch } from "../programs.ts";
import { journalless, lockstepLink, lockstepLocal, type Subject } from "../subjects/index.ts";
import type { Pair } from "../workspace.ts";
import { Field, type Scenario, type Settings, withSubject } from "./scenario.ts";

const file = { file: "record.bin", bytes: 4096, sparse: false };
const sizeBytes = 128;
const paceUs = 1000;
const count = 200;
const warmup = 30;

interface Live {
  readonly subject: Subject;
  readonly pair: Pair;
  /** Of each round, in µs; undefined where nothing arrived. */
  readonly p50s: (number | undefined)[];
  readonly samples: number[];
  lost: number;
}

/** Runs scenario 9; see the file's header. */
export const journal: Scenario = async (settings) => {
  const rounds = settings.rounds ?? (settings.quick ? 12 : 40);
  const field = await new Field(settings).admit([lockstepLink, lockstepLocal]);
  const rows: string[][] = [];
  const data: unknown[] = [];
  for (const subject of field.turns(0)) {
    const without = journalless.get(subject)!;
    settings.say(`journal: ${subject.name}, ${rounds} rounds`);
    const measured = await field.attempt(subject.name, () =>
      withAll(settings, [subject, without, without], async (all) => {
        for (let round = 0; round < rounds; round += 1) {
          for (let turn = 0; turn < all.length; turn += 1) {
            await takeTurn(all[(round + turn) % all.length]!);
          }
        }
        return all;
      }),
    );
    if (measured === undefined) continue;
    const [own, base, again] = measured as [Live, Live, Live];
    rows.push(rowOf("with journal", own, ratioByRound(own.p50s, base.p50s)));
    rows.push(rowOf("without", base, undefined));
    rows.push(rowOf("without, again", again, ratioByRound(again.p50s, base.p50s)));
    data.push(
      ...measured.map(({ pair: _pair, subject: { name }, ...rest }) => ({ name, ...rest })),
    );
  }
  return {
    scenario: "journal",
    title: "write() returned -> bytes in the target file, 128 B each 1 ms, by the target's journal",
    columns: ["subject", "", "n", "lost", "min", "p10", "p50", "p90", "p50 / without"],
    rows,
    notes: [
      "All three are live at once and take turns of a fifth of a second; the ratio is formed in",
      "each round and shown as median (min..max). What `without, again` shows is noise.",
    ],
    skipped: field.skips,
    data: { sizeBytes, paceUs, count, rounds, subjects: data },
  };
};

/** Starts all of them, each on a pair of its own, then runs `work`. */
function withAll<T>(
  settings: Settings,
  subjects: readonly Subject[],
  work: (live: Live[]) => Promise<T>,
): Promise<T> {
  const [subject, ...others] = subjects;
  if (subject === undefined) return work([]);
  return withSubject(settings, subject, file, (pair) =>
    withAll(settings, others, (live) =>
      work([{ subject, pair, p50s: [], samples: [], lost: 0 }, ...live]),
    ),
  );
}

async function takeTurn(live: Live): Promise<void> {
  const { samples, lost } = await stopwatch({
    source: join(live.pair.source, file.file),
    target: join(live.pair.target, file.file),
    ...{ count, warmup, paceUs, sizeBytes },
    jitterUs: 0,
    offset: "random",
    timeoutMs: 2000,
    readyMs: 60_000,
  });
  live.p50s.push(summarize(samples)?.p50);
  live.samples.push(...samples);
  live.lost += lost;
}

function rowOf(what: string, live: Live, ratio: RatioSpread | undefined): string[] {
  const summary = summarize(live.samples);
  const p10 = quantile(Float64Array.from(live.samples).sort(), 0.1);
  const values = [summary?.min, p10, summary?.p50, summary?.p90].map(showUs);
  const shown = ratio === undefined ? "" : showRatio(ratio);
  return [live.subject.name, what, `${summary?.n ?? 0}`, `${live.lost}`, ...values, shown];
}
