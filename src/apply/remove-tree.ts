/**
 * Removes a file or a whole directory by what is on the disk, not by what the tree knows: nothing
 * below it survives, and nothing outside it is touched (descriptors, no links followed).
 *
 * No recursion: a stack of open directories, and a directory too deep for it is first moved up to
 * the root under a hold name.
 */
import { DirectoryEntries } from "../descriptors/index.ts";
import { Errno, type Files, Mode, Open, Stat } from "../world/index.ts";
import { holdName } from "./hold-name.ts";

/** Directories open at once while removing. */
export const removeDepthMax = 64;

interface Level {
  fd: number;
  parentFd: number;
  name: Uint8Array;
  /** Subdirectories seen and not yet removed. */
  readonly pending: Uint8Array[];
}

/** 0, or the negative errno of the first step that failed. What was removed stays removed. */
export function removeTree(files: Files, rootFd: number, dirFd: number, name: Uint8Array): number {
  const first = files.unlink(dirFd, name, 0);
  if (first !== -Errno.EISDIR && first !== -Errno.EPERM) return first;
  const moved: Uint8Array[] = [];
  let result = removeDirectory(files, rootFd, dirFd, name, moved);
  for (let next = moved.pop(); next !== undefined && result === 0; next = moved.pop()) {
    result = removeDirectory(files, rootFd, rootFd, next, moved);
  }
  return result;
}

let movedCount = 0;

function removeDirectory(
  files: Files,
  rootFd: number,
  dirFd: number,
  name: Uint8Array,
  moved: Uint8Array[],
): number {
  const stack: Level[] = [];
  const entries = new DirectoryEntries(files);
  const close = (result: number): number => {
    for (const level of stack) files.close(level.fd);
    return result;
  };
  const enter = (parentFd: number, child: Uint8Array): number => {
    const fd = files.openBeneath(parentFd, child, Open.read | Open.directory | Open.noFollow, 0);
    if (fd >= 0) stack.push({ fd, parentFd, name: child, pending: [] });
    return fd;
  };
  const leave = (level: Level): number => {
    files.close(level.fd);
    stack.pop();
    const gone = files.unlink(level.parentFd, level.name, 1);
    return gone === -Errno.ENOENT ? 0 : gone;
  };
  const opened = enter(dirFd, name);
  if (opened < 0) return opened;
  while (stack.length > 0) {
    const level = stack[stack.length - 1]!;
    const child = level.pending.pop();
    if (child === undefined) {
      let result = removeFiles(files, entries, level);
      if (result === 0) result = leave(level);
      if (result < 0) return close(result);
      continue;
    }
    if (stack.length < removeDepthMax) {
      const fd = enter(level.fd, child);
      if (fd < 0) return close(fd);
    } else {
      const up = holdName(0x100000000 + movedCount++);
      const result = files.rename(level.fd, child, rootFd, up, 0);
      if (result < 0) return close(result);
      moved.push(up);
    }
  }
  return 0;
}

/** Unlinks the files of one batch and notes its subdirectories. 0 at the end, or negative errno. */
function removeFiles(files: Files, entries: DirectoryEntries, level: Level): number {
  let failed = 0;
  const used = entries.next(level.fd, (name, stat) => {
    if ((stat[Stat.mode]! & Mode.typeMask) === Mode.directory) {
      level.pending.push(name.slice());
      return;
    }
    const result = files.unlink(level.fd, name, 0);
    if (result < 0 && result !== -Errno.ENOENT) failed = result;
  });
  return failed < 0 ? failed : used;
}
