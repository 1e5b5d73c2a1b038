/** The independent judge of whether two trees are equal. */
export { compareTrees } from "./compare-trees.ts";
export type {
  CompareOptions,
  CompareProgress,
  CompareReporter,
  CompareSummary,
} from "./compare-trees.ts";
export { DifferenceKind, escapeBytes, formatDifference } from "./difference.ts";
export type { Difference } from "./difference.ts";
export { totalOf } from "./tree-total.ts";
export type { TreeTotal } from "./tree-total.ts";
export { WalkCursor } from "./walk-cursor.ts";
export type { CursorState } from "./walk-cursor.ts";
