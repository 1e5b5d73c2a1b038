/**
 * What a scrub is told and what it has found: kept by whoever runs the sync, over all its links.
 */

export interface ScrubCounters {
  /** Times that everything was looked at. */
  scrubPasses: number;
  /** Files, directories and whatever else was compared to its end. */
  scrubbedFiles: number;
  /** Bytes of content that were compared. */
  scrubbedBytes: number;
  /** Paths where the target was not what it should have been. */
  scrubDivergences: number;
}

export interface Scrub {
  /** Content read on each side; 0 for no scrub. */
  readonly bytesPerSecond: number;
  readonly counters: ScrubCounters;
  /** Paths for which a link was ended, so that the next compares everything, and when (µs). */
  readonly endedFor: Map<string, number>;
}

/** Bytes a second that are compared when nobody says otherwise. */
export const scrubBytesPerSecond = 4_000_000;

export function makeScrub(bytesPerSecond: number): Scrub {
  const counters = { scrubPasses: 0, scrubbedFiles: 0, scrubbedBytes: 0, scrubDivergences: 0 };
  return { bytesPerSecond, counters, endedFor: new Map() };
}
