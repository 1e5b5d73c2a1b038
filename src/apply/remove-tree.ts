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
  const removal = new TreeRemoval(files, rootFd, dirFd, name);
  let result = removal.step();
  while (result > 0) result = removal.step();
  return result;
}

let movedCount = 0;

/** The same with a directory, a batch of entries each step: other work has its turn between. */
export class TreeRemoval {
  readonly #files: Files;
  readonly #rootFd: number;
  readonly #entries: DirectoryEntries;
  /** Directories that were too deep, in the root now. */
  readonly #moved: Uint8Array[] = [];
  readonly #stack: Level[] = [];
  readonly #dirFd: number;
  readonly #name: Uint8Array;
  #isBegun = false;

  constructor(files: Files, rootFd: number, dirFd: number, name: Uint8Array) {
    this.#files = files;
    this.#rootFd = rootFd;
    this.#entries = new DirectoryEntries(files, undefined, 1);
    this.#dirFd = dirFd;
    this.#name = name;
  }

  /** Positive when there is more to remove, 0 at the end, or a negative errno, which ends it. */
  step(): number {
    const result = this.#isBegun ? this.#stepWithin() : this.#enter(this.#dirFd, this.#name);
    this.#isBegun = true;
    if (result < 0) this.close();
    if (result < 0 || this.#stack.length > 0) return result < 0 ? result : 1;
    const next = this.#moved.pop();
    if (next === undefined) return 0;
    const opened = this.#enter(this.#rootFd, next);
    return opened < 0 ? opened : 1;
  }

  close(): void {
    for (const level of this.#stack) this.#files.close(level.fd);
    this.#stack.length = 0;
  }

  #stepWithin(): number {
    const files = this.#files;
    const level = this.#stack[this.#stack.length - 1]!;
    const child = level.pending.pop();
    if (child === undefined) {
      const result = removeFiles(files, this.#entries, level);
      return result === 0 ? this.#leave(level) : result;
    }
    if (this.#stack.length < removeDepthMax) return this.#enter(level.fd, child);
    const up = holdName(0x100000000 + movedCount++);
    const result = files.rename(level.fd, child, this.#rootFd, up, 0);
    if (result >= 0) this.#moved.push(up);
    return result;
  }

  #enter(parentFd: number, child: Uint8Array): number {
    const flags = Open.read | Open.directory | Open.noFollow;
    const fd = this.#files.openBeneath(parentFd, child, flags, 0);
    if (fd >= 0) this.#stack.push({ fd, parentFd, name: child, pending: [] });
    return fd;
  }

  #leave(level: Level): number {
    this.#files.close(level.fd);
    this.#stack.pop();
    const gone = this.#files.unlink(level.parentFd, level.name, 1);
    return gone === -Errno.ENOENT ? 0 : gone;
  }
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
