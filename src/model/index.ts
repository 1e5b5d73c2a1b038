export { ProblemLog } from "./problem.ts";
export type { Problem, ProblemKind } from "./problem.ts";
