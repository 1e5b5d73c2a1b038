export { Cutter } from "./cutter.ts";
export type { CutCounters, CutterOptions } from "./cutter.ts";
export { DirtySet } from "./dirty-set.ts";
