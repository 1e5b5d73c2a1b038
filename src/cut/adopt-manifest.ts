/**
 * Takes the target's manifest for the source's tree, entry by entry. The target may be hostile:
 * an entry that does not fit what came before it is PEER_MALFORMED.
 */
import { SyncError } from "../base/index.ts";
import { type Origins, rootId, type Tree } from "../tree/index.ts";
import { isKeepKey, type ManifestEntry } from "../wire/index.ts";
import { Mode } from "../world/index.ts";
import type { KeptFiles } from "./kept-files.ts";

/** `endId`: ids before it may be named. */
export function adoptEntry(
  tree: Tree,
  entry: ManifestEntry,
  kept: KeptFiles,
  origins: Origins,
  endId: number = tree.endId + 1,
): void {
  const { node, parent, name } = entry;
  if (parent === 0 && name.length > 0) return adoptKept(tree, entry, kept);
  const isRoot = node === rootId && parent === 0 && name.length === 0;
  const isKnown = tree.isLive(node);
  const sameKind = !isKnown || (tree.mode[node]! & Mode.typeMask) === (entry.mode & Mode.typeMask);
  const parentFits = isRoot || (tree.isLive(parent) && tree.isDirectory(parent));
  if (!parentFits || node === 0 || node >= endId || (!isRoot && node === rootId)) unfit();
  if (!isRoot && (name.length === 0 || tree.child(parent, name) !== 0)) unfit();
  // A directory has one name, and whoever has several is of one kind.
  if (!sameKind || (isKnown && !isRoot && tree.isDirectory(node))) unfit();
  if (!isKnown) tree.addNode(entry.mode, node);
  tree.mode[node] = entry.mode;
  tree.uid[node] = entry.uid;
  tree.gid[node] = entry.gid;
  tree.rdev[node] = entry.rdev;
  tree.size[node] = entry.size;
  tree.mtimeSec[node] = entry.mtimeSec;
  tree.mtimeNsec[node] = entry.mtimeNsec;
  if (entry.symlinkTarget.length > 0) tree.symlinkTarget.set(node, entry.symlinkTarget);
  if (entry.attributes.length > 0) tree.attributes.set(node, entry.attributes);
  if (entry.origin.ino !== 0) origins.set(node, entry.origin);
  if (!isRoot) tree.addName(parent, name, node);
}

/** A file that an earlier link has begun. It has no name on the target. */
function adoptKept(tree: Tree, { node, mode, size, name }: ManifestEntry, kept: KeptFiles): void {
  const isFile = (mode & Mode.typeMask) === Mode.regular;
  if (!kept.isEnabled || !isFile || !isKeepKey(name) || node !== tree.endId) unfit();
  tree.addNode(mode, node);
  tree.size[node] = size;
  kept.learn(name, node);
}

function unfit(): never {
  throw new SyncError("PEER_MALFORMED", "a manifest entry does not fit the tree");
}
