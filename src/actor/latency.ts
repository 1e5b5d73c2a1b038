/**
 * A histogram of sampled delays: fixed memory, no allocation, 12.5 % resolution.
 *
 * In: record(delayUs). Out: quantiles for telemetry. Delays above 4.29 s count as 4.29 s.
 * The cells are a Uint32Array that the caller may place in shared memory; then one thread records
 * and another reads (a reader may see a sample half counted: telemetry, not accounting).
 * Source: the log-linear bucketing of HdrHistogram (G. Tene), with 8 linear steps per octave.
 */

const BUCKET_COUNT = 240;
const SAMPLES_CELL = BUCKET_COUNT;
const MAX_CELL = BUCKET_COUNT + 1;

/** Length in 32-bit cells of the array that a histogram needs. */
export const LATENCY_CELL_COUNT = BUCKET_COUNT + 2;

/** Delays in microseconds; zero when nothing was sampled yet. */
export interface LatencySummary {
  readonly sampleCount: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
}

export class LatencyHistogram {
  readonly #cells: Uint32Array;

  constructor(cells: Uint32Array) {
    this.#cells = cells;
  }

  /** Counts one delay; a negative one (clocks of two threads that differ) counts as zero. */
  record(delayUs: number): void {
    const delayNs = Math.min(Math.max(Math.round(delayUs * 1000), 0), 0xffff_ffff);
    const cells = this.#cells;
    const index = bucketOf(delayNs);
    cells[index] = (cells[index] ?? 0) + 1;
    cells[SAMPLES_CELL] = (cells[SAMPLES_CELL] ?? 0) + 1;
    if (delayNs > (cells[MAX_CELL] ?? 0)) cells[MAX_CELL] = delayNs;
  }

  summary(): LatencySummary {
    return {
      sampleCount: this.#cells[SAMPLES_CELL] ?? 0,
      p50Us: this.#quantileUs(0.5),
      p99Us: this.#quantileUs(0.99),
      maxUs: (this.#cells[MAX_CELL] ?? 0) / 1000,
    };
  }

  #quantileUs(share: number): number {
    const cells = this.#cells;
    const rank = Math.ceil((cells[SAMPLES_CELL] ?? 0) * share);
    if (rank === 0) return 0;
    let seen = 0;
    for (let index = 0; index < BUCKET_COUNT; index += 1) {
      seen += cells[index] ?? 0;
      if (seen >= rank) return Math.min(upperNs(index), cells[MAX_CELL] ?? 0) / 1000;
    }
    return (cells[MAX_CELL] ?? 0) / 1000;
  }
}

function bucketOf(delayNs: number): number {
  if (delayNs < 8) return delayNs;
  const octave = 31 - Math.clz32(delayNs);
  return (octave - 2) * 8 + ((delayNs >>> (octave - 3)) & 7);
}

function upperNs(index: number): number {
  if (index < 8) return index;
  const octave = (index >> 3) + 2;
  return (8 + (index & 7) + 1) * 2 ** (octave - 3) - 1;
}
