/**
 * The open directories of a walk over two trees at once, from the roots to where the walk is; or
 * over one, when the other is not of this machine.
 *
 * In: names, one level down at a time. Out: a frame with a descriptor on each side.
 * Invariants: at most `windowLevels` + 1 levels are open at any depth, so the walk needs a fixed
 * number of descriptors; every open is relative to a descriptor, so depth has no limit of path
 * length; no link is followed, and no mount crossed unless the source is told to (openat2, see
 * Files.openBeneath).
 * A level that was closed to make room is opened again on the way back, a window of levels at a
 * time from the root, and must then be the same directory (inode); else the walk is told.
 * Cost of the way back: depth / windowLevels jumps of depth * nameBytes / jumpBytes calls.
 */
import { assert } from "../base/index.ts";
import { Errno, Open, Stat, statSlots } from "../world/index.ts";
import type { Files } from "../world/index.ts";
import { nameBytes } from "./directory-reader.ts";

const windowLevels = 48;
/** Below PATH_MAX (4096, with the closing NUL) by more than one name. */
const jumpBytes = 3800;

const directoryFlags = Open.read | Open.directory | Open.noFollow;
const noName = new Uint8Array(0);

export type Side = "source" | "target";

export interface Frame {
  /** Empty for the roots. */
  readonly name: string;
  /**
   * Descriptors; -1 while closed to make room. Never closed in the frame on top. That of the target
   * is always -1 when there is none here.
   */
  source: number;
  target: number;
  /** With their devices. */
  readonly sourceInode: string;
  readonly targetInode: string;
  /** Names of directories that are still to be entered. */
  readonly pending: string[];
}

export interface StackError {
  readonly side: Side;
  readonly errno: number;
}

export class DirectoryStack {
  readonly #files: Files;
  readonly #frames: Frame[] = [];
  readonly #stat = new Float64Array(statSlots);

  /** `crosses`: the source's directories may be mount points. */
  constructor(files: Files, crosses: boolean) {
    this.#files = files;
    this.#crosses = crosses ? 1 : 0;
  }

  readonly #crosses: 0 | 1;

  #open(side: Side, directory: number, path: Uint8Array, flags: number): number {
    const crosses = side === "source" ? this.#crosses : 0;
    return this.#files.openBeneath(directory, path, flags, 0, crosses);
  }

  get top(): Frame | undefined {
    return this.#frames.at(-1);
  }

  /**
   * Enters the roots by new descriptors: the caller's keep their reading positions. A target root
   * of -1 is none.
   */
  enterRoots(sourceRootFd: number, targetRootFd: number): StackError | undefined {
    return this.#enter("", sourceRootFd, targetRootFd, noName);
  }

  /** Enters directory `name` of the frame on top on both sides. */
  enter(name: string): StackError | undefined {
    const top = this.top;
    assert(top !== undefined, "roots come first");
    return this.#enter(name, top.source, top.target, nameBytes(name));
  }

  #enter(
    name: string,
    sourceDirectory: number,
    targetDirectory: number,
    bytes: Uint8Array,
  ): StackError | undefined {
    const source = this.#open("source", sourceDirectory, bytes, directoryFlags);
    if (source < 0) return { side: "source", errno: source };
    const isAlone = targetDirectory < 0;
    const target = isAlone ? -1 : this.#open("target", targetDirectory, bytes, directoryFlags);
    if (target < 0 && !isAlone) {
      this.#files.close(source);
      return { side: "target", errno: target };
    }
    const sourceInode = this.#inodeOf(source);
    const targetInode = isAlone ? "" : this.#inodeOf(target);
    this.#frames.push({ name, source, target, sourceInode, targetInode, pending: [] });
    const level = this.#frames.length - 1 - windowLevels;
    if (level > 0) this.#closeLevel(level);
    return undefined;
  }

  /**
   * Leaves the frame on top, and opens the one below it again if it was closed. On an error the
   * new top has no descriptors and must be left as well.
   */
  leave(): StackError | undefined {
    this.#closeLevel(this.#frames.length - 1);
    this.#frames.pop();
    const top = this.top;
    if (top === undefined || top.source >= 0) return undefined;
    const isAlone = this.#frames[0]!.target < 0;
    const error = this.#reopen("source") ?? (isAlone ? undefined : this.#reopen("target"));
    if (error !== undefined) {
      // None stays half open: the next leave() tries the levels above anew.
      for (let level = 1; level < this.#frames.length; level++) this.#closeLevel(level);
    }
    return error;
  }

  closeAll(): void {
    for (let level = 0; level < this.#frames.length; level++) this.#closeLevel(level);
    this.#frames.length = 0;
  }

  /** Path of entry `name` in the frame on top; `.` for the roots. */
  pathOf(name: string): Uint8Array {
    const names = this.#frames.slice(1).map((frame) => frame.name);
    if (name !== "") names.push(name);
    return nameBytes(names.length === 0 ? "." : names.join("/"));
  }

  /** Opens the upper levels of the window again, on one side. */
  #reopen(side: Side): StackError | undefined {
    const last = this.#frames.length - 1;
    const first = Math.max(1, last - windowLevels + 1);
    const start = this.#jump(side, first - 1);
    if (start < 0) return { side, errno: start };
    let parent = start;
    let error: StackError | undefined;
    for (let level = first; level <= last && error === undefined; level++) {
      const frame = this.#frames[level];
      assert(frame !== undefined && frame[side] < 0, "all below the top were closed");
      const fd = this.#open(side, parent, nameBytes(frame.name), directoryFlags);
      if (fd < 0) {
        error = { side, errno: fd };
      } else if (this.#inodeOf(fd) !== inodeIn(frame, side)) {
        this.#files.close(fd);
        error = { side, errno: -Errno.ENOENT };
      } else {
        frame[side] = fd;
        parent = fd;
      }
    }
    this.#files.close(start);
    return error;
  }

  /** A descriptor of the caller's at `level`, many levels a call, each call below PATH_MAX. */
  #jump(side: Side, level: number): number {
    const root = this.#frames[0];
    assert(root !== undefined, "the roots stay open");
    const flags = Open.path | Open.directory | Open.noFollow;
    let fd = this.#open(side, root[side], noName, flags);
    let next = 1;
    while (fd >= 0 && next <= level) {
      let path = "";
      while (next <= level) {
        const name = this.#frames[next]?.name ?? "";
        if (path.length + name.length > jumpBytes) break;
        path += path === "" ? name : `/${name}`;
        next += 1;
      }
      const below = this.#open(side, fd, nameBytes(path), flags);
      this.#files.close(fd);
      fd = below;
    }
    return fd;
  }

  #closeLevel(level: number): void {
    const frame = this.#frames[level];
    assert(frame !== undefined, "a level of the stack");
    if (frame.source >= 0) this.#files.close(frame.source);
    if (frame.target >= 0) this.#files.close(frame.target);
    frame.source = -1;
    frame.target = -1;
  }

  #inodeOf(fd: number): string {
    if (this.#files.fstat(fd, this.#stat) < 0) return "";
    return `${this.#stat[Stat.dev] ?? 0}:${this.#stat[Stat.ino] ?? 0}`;
  }
}

function inodeIn(frame: Frame, side: Side): string {
  return side === "source" ? frame.sourceInode : frame.targetInode;
}
