export { FakeClock } from "./fake-clock.ts";
export type { FakeClockOptions } from "./fake-clock.ts";
export type { Clock, Entropy, Hashes, Log, LogLevel, Timer, World } from "./ports.ts";
export {
  Delta,
  deltaSlots,
  deltaStrongBytes,
  Errno,
  errnoName,
  Fallocate,
  Mode,
  Open,
  Rename,
  scanEntryFixedBytes,
  Stat,
  statfsSlots,
  statSlots,
} from "./files.ts";
export type { Files, Kernel } from "./files.ts";
export {
  expressContentAt,
  ExpressFile,
  expressFileCountMax,
  expressFileSlots,
  expressFixedBytes,
  ExpressSlot,
  expressSlots,
} from "./express.ts";
export type { ExpressPort } from "./express.ts";
export { Job, JobFlag, jobFixedBytes, jobSecondsSlot, JobState } from "./lanes.ts";
export type { Lanes } from "./lanes.ts";
export { PollEvent, tlsOwed, TlsResult } from "./network.ts";
export type { Network, NetworkWorld, Tls } from "./network.ts";
export type { Thread, ThreadHandlers, Threads, ThreadSelf } from "./threads.ts";
