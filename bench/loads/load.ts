/**
 * What writes into a source while its cuts are counted. Each load is a program that somebody else
 * wrote, but for the worst case, which is ours (hot.c).
 *
 * Invariant: a load runs wholly inside the pair's folders; what it has started ends with `stop`.
 */
import type { Pair } from "../workspace.ts";

export interface Load {
  readonly name: string;
  /** Why it cannot run here, or undefined when it can. */
  unavailable(): Promise<string | undefined>;
  /** Fills the source, and starts what has to run before the first write. */
  prepare(pair: Pair): Promise<PreparedLoad>;
}

export interface PreparedLoad {
  /** Writes for so long; gives its own count a second: transactions, or writes. */
  run(durationMs: number): Promise<number>;
  /** Ends what runs; the source is at rest then. Idempotent. */
  stop(): Promise<void>;
}
