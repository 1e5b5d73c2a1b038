/**
 * The arithmetic of the bench: quantiles, ratios of interleaved rounds, and how numbers are shown.
 *
 * In: samples in any unit. Out: summaries in the same unit. Pure.
 * Invariant: a quantile is a sample that occurred (nearest rank), never an interpolation, so that
 * a p99 of 50 samples is visibly the maximum. Ratios are formed inside a round and then
 * summarized, because the noise of a shared machine moves slowly: neighbours in time share it.
 */

export interface Summary {
  readonly n: number;
  readonly min: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** The median of the per-round ratios, with their extremes. */
export interface RatioSpread {
  readonly rounds: number;
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/**
 * Summarizes `samples` (finite numbers, any order; not modified).
 * Errors: none; undefined when there is no sample.
 */
export function summarize(samples: readonly number[]): Summary | undefined {
  if (samples.length === 0) return undefined;
  const sorted = Float64Array.from(samples).sort();
  return {
    n: sorted.length,
    min: quantile(sorted, 0),
    p50: quantile(sorted, 0.5),
    p90: quantile(sorted, 0.9),
    p99: quantile(sorted, 0.99),
    max: quantile(sorted, 1),
  };
}

/** Nearest rank: the smallest sorted value with at least `share` of all values at or below it. */
export function quantile(sorted: Float64Array, share: number): number {
  const rank = Math.max(1, Math.ceil(share * sorted.length));
  const value = sorted[rank - 1];
  if (value === undefined) throw new RangeError("a quantile of nothing");
  return value;
}

/** The median by nearest rank; undefined for no values. */
export function median(values: readonly number[]): number | undefined {
  return summarize(values)?.p50;
}

/**
 * Divides `subject` by `baseline` round by round and summarizes the quotients.
 * Rounds where either side has no value, or the baseline is not positive, are left out.
 */
export function ratioByRound(
  subject: readonly (number | undefined)[],
  baseline: readonly (number | undefined)[],
): RatioSpread | undefined {
  const quotients: number[] = [];
  for (let round = 0; round < subject.length; round += 1) {
    const above = subject[round];
    const below = baseline[round];
    if (above !== undefined && below !== undefined && below > 0) quotients.push(above / below);
  }
  const summary = summarize(quotients);
  if (summary === undefined) return undefined;
  return { rounds: summary.n, median: summary.p50, min: summary.min, max: summary.max };
}

/** The sum; undefined if a part of it is missing. */
export function sumOf(parts: readonly (number | undefined)[]): number | undefined {
  let sum = 0;
  for (const part of parts) {
    if (part === undefined) return undefined;
    sum += part;
  }
  return sum;
}

/** Three significant digits, without an exponent: 0.123, 12.3, 1234. */
export function showNumber(value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return "-";
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  return size >= 1 ? value.toFixed(2) : value.toFixed(3);
}

/** Microseconds in the unit that reads best. */
export function showUs(us: number | undefined): string {
  if (us === undefined) return "-";
  if (Math.abs(us) >= 1e6) return `${showNumber(us / 1e6)} s`;
  if (Math.abs(us) >= 1e4) return `${showNumber(us / 1e3)} ms`;
  return `${showNumber(us)} µs`;
}

/** "1.82x (1.70..1.95, 5 rounds)". */
export function showRatio(ratio: RatioSpread | undefined): string {
  if (ratio === undefined) return "-";
  const { median: middle, min, max, rounds } = ratio;
  const spread = `${showNumber(min)}..${showNumber(max)}`;
  return `${showNumber(middle)}x (${spread}, ${rounds} round${rounds === 1 ? "" : "s"})`;
}
