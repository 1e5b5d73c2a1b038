/**
 * The times of directories are told at the end of a round, when nothing of it changes them any more
 * on the target. A directory whose path is just changing waits for the next round, which finds it.
 */
import type { Directories } from "../descriptors/index.ts";
import type { Tree } from "../tree/index.ts";
import type { Files } from "../world/index.ts";
import type { DirtySet } from "./dirty-set.ts";
import type { MetadataComparer } from "./metadata-comparer.ts";
import { isGone } from "./source-files.ts";

export interface DirectoryTimesOptions {
  files: Files;
  tree: Tree;
  dirty: DirtySet;
  directories: Directories;
  metadata: MetadataComparer;
  /** Overwritten. */
  stat: Float64Array;
}

/**
 * Empties both sets. What was `touched` on the target is told in any case; what was `looked` at
 * when the time differs.
 */
export function tellDirectoryTimes(
  { files, tree, dirty, directories, metadata, stat }: DirectoryTimesOptions,
  touched: Set<number>,
  looked: Set<number>,
): void {
  for (const node of touched) looked.add(node);
  for (const node of looked) {
    if (!tree.isLive(node)) continue;
    const fd = directories.get(node);
    const result = fd < 0 ? fd : files.fstat(fd, stat);
    if (result >= 0) {
      metadata.tellTimes(node, stat, touched.has(node));
    } else if (isGone(result)) {
      // The target's has changed, so none is the same.
      if (touched.has(node)) tree.mtimeSec[node] = NaN;
      dirty.addMetadata(node);
      dirty.conflict = true;
    }
  }
  touched.clear();
  looked.clear();
}
