/**
 * What writers of numbered transactions have done, as they wrote it down outside of the tree, and
 * whether a copy of their database can be what a disk held at a moment: everything is there that
 * was committed before the moment, each writer's transactions in their order, and nothing that was
 * not begun.
 *
 * The log's times are those of the clock that the cut is told in, taken when COMMIT had returned.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** A cut is told in whole milliseconds: what is this little older is not asked for. */
const granularityMs = 1;
const logBytesMax = 2 ** 20;

/** By writer. */
export type Ledger = ReadonlyMap<string, Written>;

/** What a check of a copy has found. */
export interface Found {
  /** Of the database by itself; a sound one has none. */
  readonly problems: readonly string[];
  /** Numbers by writer, ascending. Old ones are removed by the writer. */
  readonly writers: Readonly<Record<string, readonly number[]>>;
}

export interface Judgement {
  readonly problems: readonly string[];
  /** Transactions that were asked for. */
  readonly requiredCount: number;
  /** Committed before the cut, and the latest of them. */
  readonly newestMs: number;
}

export interface Written {
  readonly begun: number;
  /** Number and time of what is known to be committed, ascending. */
  readonly committed: readonly (readonly [number: number, ms: number])[];
}

/** All that the writers of `folder` have written down so far; each has a log of its own name. */
export function readLedger(folder: string): Ledger {
  return new Map(readdirSync(folder).map((writer) => [writer, readLog(join(folder, writer))]));
}

/** Judges a copy by what was written down when the source, or its mirror, had died. */
export function judgeLedger(ledger: Ledger, found: Found, cutWallMs: number): Judgement {
  const problems = [...found.problems];
  let requiredCount = 0;
  let newestMs = 0;
  for (const [writer, { begun, committed }] of ledger) {
    const present = found.writers[writer] ?? [];
    const numbers = new Set(present);
    const [oldest, newest] = [present[0] ?? 0, present.at(-1) ?? 0];
    if (newest > begun) problems.push(`${writer}:${newest} is there, and was never begun`);
    for (const [number, ms] of committed) {
      const isRequired = ms < cutWallMs - granularityMs;
      if (isRequired) requiredCount++;
      if (isRequired) newestMs = Math.max(newestMs, ms);
      // What is older than the oldest was removed.
      if (numbers.has(number) || number < oldest || problems.length > 20) continue;
      const early = `${(cutWallMs - ms).toFixed(1)} ms before the cut`;
      if (isRequired) problems.push(`${writer}:${number} is missing, committed ${early}`);
      else if (number < newest) problems.push(`${writer}:${number} is missing, ${newest} is there`);
    }
  }
  return { problems, requiredCount, newestMs };
}

/** The end of it: what is older is not in the database any more. */
function readLog(path: string): Written {
  const bytes = readFileSync(path);
  const text = bytes.subarray(Math.max(0, bytes.length - logBytesMax)).toString("latin1");
  // The first may be cut off, the last is not whole while its writer writes it.
  const lines = text.split("\n").slice(bytes.length > logBytesMax ? 1 : 0, -1);
  let begun = 0;
  const committed: [number, number][] = [];
  for (const line of lines) {
    const [what, number, ms] = line.split(" ");
    if (what === "B") begun = Number(number);
    else committed.push([Number(number), Number(ms)]);
  }
  return { begun, committed };
}
