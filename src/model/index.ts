export { ProblemLog } from "./problem.ts";
export type { Problem } from "./problem.ts";
