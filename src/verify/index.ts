/** The independent judge of whether two trees are equal. */
export { compareTrees, compareWithRemote } from "./compare-trees.ts";
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
export type { Pause } from "./content.ts";
export { Pace } from "./pace.ts";
export { partBytesMax, partBytesMin } from "./part-hasher.ts";
export { identitySlots, remotePathBytesMax } from "./remote-tree.ts";
export type { PartRun, RemoteEntry, RemotePage, RemoteParts, RemoteTree } from "./remote-tree.ts";
export { TreeReader } from "./tree-reader.ts";
