export { Journal } from "./journal.ts";
export type { FrameCursor, RecordedEpoch } from "./journal.ts";
export { JournalFile, journalPrefix } from "./journal-file.ts";
export type { JournalPlace } from "./journal-file.ts";
export type { Cut, Durability } from "./journal-format.ts";
export { knownTargets } from "./known-targets.ts";
export { recover } from "./recover.ts";
export type { RecoverOptions, Recovery } from "./recover.ts";
