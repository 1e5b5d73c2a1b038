/**
 * Finds the node behind a path that another process used: truncate(2) and a few calls more name
 * their file by path only, and no tracepoint shows the inode. The path is resolved as that process
 * saw it (its root, its working directory, its descriptors), through /proc while the process lives;
 * a relative path from the folder that the kernel told, if that is one of ours.
 */
import type { Directories } from "../descriptors/index.ts";
import type { Tree } from "../tree/index.ts";
import { type Files, Open, Stat, statSlots } from "../world/index.ts";
import type { DirtyPath, DirtySet } from "./dirty-set.ts";

const AT_FDCWD = -100;
const noName: Uint8Array = new Uint8Array(0);

/** Marks what the dirty paths lead to; what cannot be found out is `lost`. */
export function resolvePaths(
  files: Files,
  tree: Tree,
  directories: Directories,
  rootPath: Uint8Array,
  dirty: DirtySet,
  lost: () => void,
): void {
  for (const path of dirty.takePaths()) {
    const node =
      resolveBeneath(files, tree, directories, path) || resolvePath(files, tree, rootPath, path);
    if (node > 0 && path.truncatedTo !== Infinity) {
      dirty.addExtent(node, Math.min(path.truncatedTo, tree.size[node]!), Infinity);
    } else if (node > 0) {
      dirty.addMetadata(node);
    } else if (node < 0) {
      lost();
    }
  }
}

/** The node, when the path starts at a folder of ours and stays below it; else 0. */
function resolveBeneath(
  files: Files,
  tree: Tree,
  directories: Directories,
  { path, start }: DirtyPath,
): number {
  const folder = start.ino === 0 ? 0 : tree.byInode(start.ino, start.gen);
  if (folder === 0 || !tree.isDirectory(folder)) return 0;
  const dirFd = directories.get(folder);
  return dirFd < 0 ? 0 : nodeOf(files, tree, files.openBeneath(dirFd, path, Open.path, 0));
}

/** The node behind a descriptor, which is closed; 0 when it is none of ours. */
function nodeOf(files: Files, tree: Tree, fd: number): number {
  if (fd < 0) return 0;
  const stat = new Float64Array(statSlots);
  const result = files.statAt(fd, noName, stat);
  files.close(fd);
  return result < 0 ? 0 : tree.byInode(stat[Stat.ino]!, stat[Stat.gen]!);
}

/**
 * The node, 0 when the path leads to a file that is not in the tree, or a negative errno when it
 * could not be resolved: then anything may have changed.
 */
function resolvePath(files: Files, tree: Tree, rootPath: Uint8Array, dirty: DirtyPath): number {
  const { path } = dirty;
  const { processId, directoryFd } = dirty.start;
  const start =
    path[0] === 47
      ? `/proc/${processId}/root`
      : directoryFd === AT_FDCWD
        ? `/proc/${processId}/cwd/`
        : `/proc/${processId}/fd/${directoryFd}/`;
  let fd = files.openPath(Buffer.concat([Buffer.from(start), path]), Open.path);
  if (fd < 0 && path[0] === 47) {
    // The process has ended. Nearly always it saw the same files as we do.
    fd = files.openPath(path, Open.path);
    if (fd < 0 && !startsWith(path, rootPath)) return 0;
  }
  if (fd < 0) return fd;
  const stat = new Float64Array(statSlots);
  const result = files.statAt(fd, noName, stat);
  files.close(fd);
  if (result < 0) return result;
  return tree.byInode(stat[Stat.ino]!, stat[Stat.gen]!);
}

function startsWith(path: Uint8Array, root: Uint8Array): boolean {
  return root.every((byte, at) => path[at] === byte);
}
