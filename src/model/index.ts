export { MountLog } from "./mount-log.ts";
export { MountTable, parseMountTable } from "./mount-table.ts";
export type { MountBelow, MountEntry } from "./mount-table.ts";
export { ProblemLog } from "./problem.ts";
export type { Problem, ProblemKind } from "./problem.ts";
