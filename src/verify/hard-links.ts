/**
 * Whether the groups of names that share an inode are the same on both sides.
 *
 * In: the stat records of each pair of entries with the same path. Out: whether the pair breaks
 * the one-to-one relation between the inodes of the source and those of the target.
 * The groups are equal exactly when that relation is one-to-one: two names with one inode in the
 * source and two in the target make a second partner, and so does the reverse. Links from outside
 * of the tree never come by, so they do not count.
 * Memory: about 100 bytes for each inode with several names; none for all others.
 * Inode numbers above 2^53 are folded by the addon, which leaves a chance of 2^-53 for a mistake.
 */
import { Stat } from "../world/index.ts";

export class HardLinks {
  readonly #partnerOfSource = new Map<string, string>();
  readonly #partnerOfTarget = new Map<string, string>();

  /** True when recording the pair would give one of the two inodes a second partner. */
  conflicts(source: Float64Array, target: Float64Array): boolean {
    if (!isLinked(source) && !isLinked(target)) return false;
    const sourceKey = inodeKey(source);
    const targetKey = inodeKey(target);
    return (
      (this.#partnerOfSource.get(sourceKey) ?? targetKey) !== targetKey ||
      (this.#partnerOfTarget.get(targetKey) ?? sourceKey) !== sourceKey
    );
  }

  /** Keeps the pair, for which conflicts() was false. */
  record(source: Float64Array, target: Float64Array): void {
    if (!isLinked(source) && !isLinked(target)) return;
    const sourceKey = inodeKey(source);
    const targetKey = inodeKey(target);
    this.#partnerOfSource.set(sourceKey, targetKey);
    this.#partnerOfTarget.set(targetKey, sourceKey);
  }
}

function isLinked(stat: Float64Array): boolean {
  return (stat[Stat.nlink] ?? 0) > 1;
}

/** With the device, as the files of one overlay mount may come from several devices. */
function inodeKey(stat: Float64Array): string {
  return `${stat[Stat.dev] ?? 0}:${stat[Stat.ino] ?? 0}`;
}
