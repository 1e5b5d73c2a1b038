/**
 * The ports through which all nondeterminism enters: time, randomness, deferred execution, log.
 * The real ones are in world/node/; the simulator (test/sim) supplies its own. Files enter by
 * `Files` (files.ts), peers by `Link` (transport/), kernel events by `CaptureBackend` (capture/).
 */

/** A pending timer; cancel() is idempotent. */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Monotonic microseconds since an arbitrary start. Never goes back. */
  monotonicUs(): number;
  /** Wall clock milliseconds since 1970. May jump. */
  wallMs(): number;
  /** Calls `fire` once after at least `delayMs`. Does not keep the process alive by itself. */
  after(delayMs: number, fire: () => void): Timer;
  /** Calls `fire` on a later turn of the event loop, after pending I/O. Keeps the process alive. */
  defer(fire: () => void): void;
}

export interface Entropy {
  /** `count` random bytes, cryptographically strong in the real world. */
  bytes(count: number): Uint8Array;
}

export interface Hashes {
  /** SHA-256 of the parts, one after the other: 32 bytes. */
  sha256(...parts: readonly Uint8Array[]): Uint8Array;
}

export type LogLevel = "error" | "warn" | "info" | "debug";

export interface Log {
  /** One structured line. `fields` never hold secrets or file content. Never on the hot path. */
  write(level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>): void;
}

export interface World {
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly hashes: Hashes;
  readonly log: Log;
}
