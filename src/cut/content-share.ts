/**
 * How much content a name of the source stands for, when progress is counted. Both sides of "done"
 * and "in all" use it: the cut for what is done with, the source count for what there is.
 */
import { Mode, Stat } from "../world/index.ts";

/**
 * Bytes of a regular file, holes included; 0 for anything else. The names of a hard-linked file
 * have equal parts of it: so it is counted once, and nobody has to remember which inodes were met.
 */
export function contentShare(stat: Float64Array): number {
  if (!isCounted(stat)) return 0;
  const names = stat[Stat.nlink]!;
  return names > 1 ? Math.floor(stat[Stat.size]! / names) : stat[Stat.size]!;
}

/** Whether the name counts as a file. */
export function isCounted(stat: Float64Array): boolean {
  return (stat[Stat.mode]! & Mode.typeMask) === Mode.regular;
}
