/**
 * Where the target's index is, and which source's tree it is of.
 *
 * In: the path of the target's folder, and what the source says its own folder is. Out: a file of
 * the state directory for each target's folder; the lock of the folder is the file's, too.
 */
import { indexPrefix, type OriginPlace, tagBytes } from "../apply/index.ts";
import { type Files, Stat, statfsSlots, statSlots, type World } from "../world/index.ts";
import type { Hello } from "../wire/index.ts";
import { originsFeature } from "./greeting.ts";
import type { SpoolPlace } from "./held-epoch.ts";

const noName: Uint8Array = new Uint8Array(0);

/** Names the tree of files below a root: its filesystem and the root's inode in it. */
export function treeName(files: Files, rootFd: number): string {
  const filesystem = new Float64Array(statfsSlots);
  const root = new Float64Array(statSlots);
  if (files.statfs(rootFd, filesystem) < 0) filesystem.fill(0);
  if (files.statAt(rootFd, noName, root) < 0) root.fill(0);
  const numbers = [filesystem[6]!, filesystem[7]!, root[Stat.ino]!, root[Stat.gen]!];
  return numbers.map((number) => number.toString(16)).join(".");
}

/** Undefined when the source does not tell of its inodes. */
export function indexPlace(
  { features, origin }: Hello,
  path: string,
  { files, dirFd }: SpoolPlace,
  { hashes }: World,
): OriginPlace | undefined {
  if (!features.includes(originsFeature) || origin === undefined) return undefined;
  const tag = hashes.sha256(Buffer.from(origin)).slice(0, tagBytes);
  const name = Buffer.from(hashes.sha256(Buffer.from(path))).toString("hex", 0, 16);
  return { files, dirFd, name: indexPrefix + name, tag };
}
