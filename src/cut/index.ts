export { Cutter } from "./cutter.ts";
export type { CutCounters, CutterOptions } from "./cutter-options.ts";
export { DirtySet } from "./dirty-set.ts";
