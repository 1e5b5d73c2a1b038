/**
 * Seeds that `npm test` runs, and those that have found something: these are kept for ever.
 *
 * A seed repeats a run as long as the simulation asks its chance the same questions in the same
 * order. When the simulation changes, a kept seed becomes one more run like any other: so whatever
 * a seed finds gets a test of its own beside the code as well.
 */
import { type FaultKind, faultKinds } from "./faults.ts";

/** System calls of the application in one run. */
export const stepCountUsual = 300;

/** First seeds of the fixed sets; the count of each is what `npm test` has time for. */
export const fixedSeeds = {
  quiet: { first: 1, count: 7 },
  faulty: { first: 1, count: 14 },
} as const;

/** Among these are seeds in which a call under way is read before what came before it. */
export const heldSeeds = { first: 71_030, count: 60 } as const;

export interface KeptSeed {
  readonly seed: number;
  readonly faults: readonly FaultKind[];
  readonly found: string;
}

/** A file is written to and then cut; the cut is read before it is told. */
const cutUnnoticed =
  "content-reader.ts: bytes that were told as written, and were beyond the end of the file by " +
  "the time it was read, were not noted as read: a cut closed with what came later only";

const sameTick =
  "origin-teller.ts: after an overflow a file was taken for unchanged that had been written to " +
  "in the tick of the clock in which it was last read";

/** Run with `--coarse`, as most were found. */
export const keptSeeds: readonly KeptSeed[] = [
  { seed: 17, faults: [], found: cutUnnoticed },
  { seed: 76, faults: [], found: cutUnnoticed },
  { seed: 86, faults: [], found: cutUnnoticed },
  { seed: 100, faults: [], found: cutUnnoticed },
  {
    seed: 18,
    faults: faultKinds,
    found:
      "mirror.ts: a source whose target had not noticed the end of the last link was refused, " +
      "and that ended the sync (now TARGET_BUSY, tried again)",
  },
  {
    seed: 2053,
    faults: faultKinds,
    found:
      "dirty-set.ts: what could not be looked at by the name that was known, as it had moved, " +
      "was left to the next epoch, and the cut closed without it",
  },
  { seed: 81, faults: faultKinds, found: sameTick },
  { seed: 60102, faults: faultKinds, found: "a hole at the end, of a write that was told later" },
  { seed: 2399, faults: faultKinds, found: sameTick },
  {
    seed: 31134,
    faults: faultKinds,
    found:
      "dirty-set.ts: a file that was read at the size to which it had just been cut or grown was " +
      "no conflict when that was told, as nothing of what was read had changed",
  },
  { seed: 41619, faults: faultKinds, found: "the same of a file that was empty when it was read" },
  {
    seed: 31417,
    faults: faultKinds,
    found: "metadata-comparer.ts: attributes were read by a name that was another file's by then",
  },
  {
    seed: 41657,
    faults: faultKinds,
    found:
      "content-reader.ts: an extent beyond the end told the size of a file, whose other bytes " +
      "were not told yet: zeros for an epoch",
  },
];
