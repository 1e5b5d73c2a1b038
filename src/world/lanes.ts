/**
 * `Lanes`: threads of the addon that make whole new files (native/addon/lane.c). What a file is to
 * be stands in an arena that both sides see; a job is done whole, or has left nothing behind.
 */

/** What the fields of a job's record are: indices of 32-bit words from its start. */
export const Job = {
  state: 0,
  error: 1,
  rootFd: 2,
  dirFd: 3,
  openMode: 4,
  flags: 5,
  mode: 6,
  uid: 7,
  gid: 8,
  nanoseconds: 9,
  /** Where the content begins, in bytes from the record's start. */
  dataAt: 10,
  dataBytes: 11,
} as const;
/** Index, in doubles from the record's start, of the seconds of the modification time. */
export const jobSecondsSlot = 6;
/** Bytes before the name, which a NUL ends. A record's start is a multiple of 8. */
export const jobFixedBytes = 64;

export const JobState = { waits: 1, done: 2, failed: 3 } as const;
export const JobFlag = { meta: 1, times: 2 } as const;

export interface Lanes {
  /** Begins `count` threads, which share `bytes` of memory. Throws an Error. */
  lanesOpen(count: number, bytes: number): unknown;
  /** The memory; to be called once. */
  lanesArena(handle: unknown): ArrayBuffer;
  /** Hands the job at this offset over to a lane: 0, or a negative errno when it takes no more. */
  lanesSubmit(handle: unknown, lane: number, offset: number): number;
  /** Returns when the job at this offset does not wait any more. */
  lanesWait(handle: unknown, offset: number): void;
  /** Finishes what was handed over, and ends the threads. */
  lanesClose(handle: unknown): void;
}
