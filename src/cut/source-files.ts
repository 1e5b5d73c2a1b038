/**
 * `SourceFiles`: open descriptors of the source's regular files, found by any of their names.
 *
 * What was opened is compared with the inode that is meant: by its name another file may be found
 * (ESTALE then). Bounded by `readableCountMax`; a descriptor is good until the next call.
 */
import { DescriptorCache, type Directories, ESTALE } from "../descriptors/index.ts";
import type { Tree } from "../tree/index.ts";
import { errnoName, type Files, Open, Stat, statSlots } from "../world/index.ts";
import { readableCountMax } from "./limits.ts";

const noName: Uint8Array = new Uint8Array(0);

/** Seconds that a change must have rested to be told from a later one by its time alone. */
const restSeconds = 2;

/** Of a file's stat record, what tells later whether anything of it has changed. */
export interface SeenFile {
  readonly ctimeSec: number;
  readonly ctimeNsec: number;
  readonly attributeBytes: number;
}

/**
 * Undefined when the last change is so young, by the clock, that another one, or another inode of
 * the same number, could have the same time: it advances in steps.
 */
export function seenFile(stat: Float64Array, wallMs: number): SeenFile | undefined {
  const [ctimeSec, ctimeNsec] = [stat[Stat.ctimeSec]!, stat[Stat.ctimeNsec]!];
  if (ctimeSec + restSeconds >= wallMs / 1000) return undefined;
  return { ctimeSec, ctimeNsec, attributeBytes: stat[Stat.attributeBytes]! };
}

export class SourceFiles {
  readonly #files: Files;
  readonly #tree: Tree;
  readonly #directories: Directories;
  readonly #cache: DescriptorCache;
  /** Stat of the file opened last. */
  readonly stat: Float64Array = new Float64Array(statSlots);

  constructor(files: Files, tree: Tree, directories: Directories) {
    this.#files = files;
    this.#tree = tree;
    this.#directories = directories;
    this.#cache = new DescriptorCache(files, readableCountMax, (node) => this.#openNode(node));
  }

  /** The node's descriptor for reading, or a negative errno. */
  get(node: number): number {
    return this.#cache.get(node);
  }

  /** The descriptor if it is open, else -1. */
  peek(node: number): number {
    return this.#cache.peek(node);
  }

  /** The same as `get`; undefined while the node has no name, as one that is still being read. */
  getNamed(node: number): number | undefined {
    if (!this.#tree.isLive(node)) return -ESTALE;
    return this.#tree.firstName[node] === 0 ? undefined : this.get(node);
  }

  /** Takes over a descriptor that `open` gave. */
  put(node: number, fd: number): void {
    this.#cache.put(node, fd);
  }

  forget(node: number): void {
    this.#cache.forget(node);
  }

  forgetWhere(test: (node: number) => boolean): void {
    this.#cache.forgetWhere(test);
  }

  clear(): void {
    this.#cache.clear();
  }

  /**
   * Opens a regular file for reading and makes sure that it is the inode that we mean. `seen`: what
   * is not asked again if nothing has changed since.
   */
  open(parent: number, name: Uint8Array, node: number, seen?: SeenFile): number {
    const tree = this.#tree;
    if (!tree.isLive(parent)) return -ESTALE;
    const dirFd = this.#directories.get(parent);
    if (dirFd < 0) return dirFd;
    const flags = Open.read | Open.noFollow | Open.nonBlock;
    const fd = this.#files.openBeneath(dirFd, name, flags, 0);
    if (fd < 0) return fd;
    const { ino, gen } = tree;
    if (seen !== undefined && this.#isAsSeen(fd, ino[node]!, gen[node]!, seen)) return fd;
    if (
      this.#files.statAt(fd, noName, this.stat) === 0 &&
      this.stat[Stat.ino] === ino[node] &&
      this.stat[Stat.gen] === gen[node]
    ) {
      return fd;
    }
    this.#files.close(fd);
    return -ESTALE;
  }

  /** The same number and time of the last change: the same inode as it was. Fills `stat`. */
  #isAsSeen(fd: number, ino: number, gen: number, seen: SeenFile): boolean {
    const { stat } = this;
    if (this.#files.fstat(fd, stat) < 0) return false;
    if (stat[Stat.ino] !== ino) return false;
    if (stat[Stat.ctimeSec] !== seen.ctimeSec || stat[Stat.ctimeNsec] !== seen.ctimeNsec) {
      return false;
    }
    stat[Stat.gen] = gen;
    stat[Stat.attributeBytes] = seen.attributeBytes;
    return true;
  }

  #openNode(node: number): number {
    const { names, firstName } = this.#tree;
    let result = -ESTALE;
    for (let id = firstName[node]!; id !== 0; id = names.nextOfNode[id]!) {
      result = this.open(names.parent[id]!, names.bytes(id), node);
      if (result >= 0) return result;
    }
    return result;
  }
}

/** Whether a negative errno means that the file or directory is not where it was. */
export function isGone(result: number): boolean {
  const name = errnoName(result);
  return (
    name === "ENOENT" ||
    name === "ENOTDIR" ||
    name === "ELOOP" ||
    result === -ESTALE ||
    name === "ENXIO"
  );
}
