export { MountLog } from "./mount-log.ts";
export { ProblemLog } from "./problem.ts";
export type { Problem, ProblemKind } from "./problem.ts";
