export { Cutter } from "./cutter.ts";
export type { CutCounters, CutterOptions } from "./cutter-options.ts";
export { deletionLimitDefault } from "./deletion-guard.ts";
export type { DeletionLimit } from "./deletion-guard.ts";
export type { SignaturePort } from "./delta-content.ts";
export type { KeptFiles } from "./kept-files.ts";
export { DirtySet } from "./dirty-set.ts";
export { SourceLook } from "./source-look.ts";
export { UnknownStores } from "./unknown-stores.ts";
