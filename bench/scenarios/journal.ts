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
import { journalless, lockstepLink, lockstepLocal } from "../subjects/index.ts";
import { Field, type Live, rotated, type Scenario, withAllLive } from "./scenario.ts";

const file = { file: "record.bin", bytes: 4096, sparse: false };
const sizeBytes = 128;
const paceUs = 1000;
const count = 200;
const warmup = 30;

interface Measured {
  readonly name: string;
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
  const data: Measured[] = [];
  for (const subject of field.turns(0)) {
    const without = journalless.get(subject)!;
    settings.say(`journal: ${subject.name}, ${rounds} rounds`);
    await withAllLive(settings, field, [subject, without, without], file, async (all) => {
      const turns = all.map((live) => ({ live, measured: emptyOf(live) }));
      for (let round = 0; round < rounds && field.has(subject); round += 1) {
        for (const { live, measured } of rotated(turns, round)) {
          await field.attempt(subject.name, () => takeTurn(live, measured));
        }
      }
      const [own, base, again] = turns.map(({ measured }) => measured);
      if (own === undefined || base === undefined || again === undefined) return;
      rows.push(rowOf("with journal", own, ratioByRound(own.p50s, base.p50s)));
      rows.push(rowOf("without", base, undefined));
      rows.push(rowOf("without, again", again, ratioByRound(again.p50s, base.p50s)));
      data.push(own, base, again);
    });
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

function emptyOf({ subject: { name } }: Live): Measured {
  return { name, p50s: [], samples: [], lost: 0 };
}

async function takeTurn({ pair }: Live, measured: Measured): Promise<void> {
  const { samples, lost } = await stopwatch({
    source: join(pair.source, file.file),
    target: join(pair.target, file.file),
    ...{ count, warmup, paceUs, sizeBytes },
    jitterUs: 0,
    offset: "random",
    timeoutMs: 2000,
    readyMs: 60_000,
  });
  measured.p50s.push(summarize(samples)?.p50);
  measured.samples.push(...samples);
  measured.lost += lost;
}

function rowOf(what: string, measured: Measured, ratio: RatioSpread | undefined): string[] {
  const summary = summarize(measured.samples);
  const p10 = quantile(Float64Array.from(measured.samples).sort(), 0.1);
  const values = [summary?.min, p10, summary?.p50, summary?.p90].map(showUs);
  const shown = ratio === undefined ? "" : showRatio(ratio);
  return [measured.name, what, `${summary?.n ?? 0}`, `${measured.lost}`, ...values, shown];
}
