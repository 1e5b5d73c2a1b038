/**
 * The descriptors of one simulated process, and how a call finds its file with them.
 *
 * A number below zero is an errno, as in `Files`.
 */
import type { ChangeSink } from "../../src/capture/index.ts";
import { Errno, type Files, Open } from "../../src/world/index.ts";
import { type Inode, latin1, type SimDisk } from "./sim-disk.ts";

export interface SimFilesOptions {
  readonly disk: SimDisk;
  /** A negative result is injected; undefined lets the call be done. */
  readonly before?: (call: keyof Files, args: readonly unknown[]) => number | undefined;
  readonly after?: (call: keyof Files, args: readonly unknown[], result: number) => void;
  /** Microseconds on the clock that capture stamps with. */
  readonly nowUs?: () => number;
  readonly tell?: ChangeSink;
  /** The addon, and a descriptor of an empty file that it may use: for sums of blocks. */
  readonly scratch?: { readonly files: Files; readonly fd: number };
}

export interface Descriptor {
  readonly inode: Inode;
  readonly reads: boolean;
  readonly writes: boolean;
  readonly isPath: boolean;
  /** In a directory: the cookie of the next entry. */
  position: number;
}

export const nameBytesMax = 255;

export class SimTable {
  readonly disk: SimDisk;
  readonly tell: ChangeSink | undefined;
  umask = 0o022;
  readonly #options: SimFilesOptions;
  readonly #descriptors: Map<number, Descriptor> = new Map();

  constructor(options: SimFilesOptions) {
    this.#options = options;
    this.disk = options.disk;
    this.tell = options.tell;
  }

  get size(): number {
    return this.#descriptors.size;
  }

  get(fd: number): Descriptor | undefined {
    return this.#descriptors.get(fd);
  }

  /** Of a pipe. */
  hasReader(inode: Inode): boolean {
    for (const own of this.#descriptors.values()) if (own.inode === inode && own.reads) return true;
    return false;
  }

  closeAll(): void {
    for (const fd of [...this.#descriptors.keys()]) this.close(fd);
  }

  nowUs(): number {
    return this.#options.nowUs?.() ?? 0;
  }

  install(inode: Inode, flags: number): number {
    let fd = 3;
    while (this.#descriptors.has(fd)) fd++;
    const access = flags & 3;
    const isPath = (flags & Open.path) !== 0;
    inode.openCount++;
    this.#descriptors.set(fd, {
      inode,
      reads: !isPath && access !== Open.write,
      writes: !isPath && access !== Open.read,
      isPath,
      position: 0,
    });
    return fd;
  }

  close(fd: number): number {
    const found = this.#descriptors.get(fd);
    if (found === undefined) return -Errno.EBADF;
    this.#descriptors.delete(fd);
    const { inode } = found;
    if (inode.lockedBy === found) inode.lockedBy = undefined;
    inode.openCount--;
    if (found.writes) this.tell?.closed(inode.ino, inode.gen);
    this.disk.release(inode);
    return 0;
  }

  /** Of a descriptor that was not opened with O_PATH. */
  usable(fd: number): Inode | number {
    const found = this.#descriptors.get(fd);
    return found === undefined || found.isPath ? -Errno.EBADF : found.inode;
  }

  directory(fd: number): Inode | number {
    const inode = this.#descriptors.get(fd)?.inode;
    if (inode === undefined) return -Errno.EBADF;
    return inode.isDirectory ? inode : -Errno.ENOTDIR;
  }

  /** What a name is in a directory; the descriptor's own file for the empty name. */
  find(fd: number, name: Uint8Array): Inode | number {
    if (name.length === 0) return this.#descriptors.get(fd)?.inode ?? -Errno.EBADF;
    const directory = this.directory(fd);
    if (typeof directory === "number") return directory;
    const wrong = wrongName(name);
    if (wrong < 0) return directory.nlink === 0 ? -Errno.ENOENT : wrong;
    return directory.entries!.get(latin1(name))?.inode ?? -Errno.ENOENT;
  }

  /** A directory that may be given a new name; `existing` is what has that name. */
  place(
    fd: number,
    name: Uint8Array,
    when?: "lookedUpLater",
  ): { directory: Inode; existing: Inode | undefined } | number {
    if (name.length === 0) return -Errno.ENOENT;
    const directory = this.directory(fd);
    if (typeof directory === "number") return directory;
    const wrong = wrongName(name);
    if (wrong < 0 && when === undefined) return directory.nlink === 0 ? -Errno.ENOENT : wrong;
    const existing = directory.entries!.get(latin1(name))?.inode;
    return { directory, existing };
  }

  /** A new file, not yet named, of an owner that the directory may decide. */
  born(directory: Inode, mode: number): Inode {
    const inode = this.disk.make(mode & ~this.umask);
    const isGroupKept = (directory.mode & 0o2000) !== 0;
    if (isGroupKept) inode.gid = directory.gid;
    if (isGroupKept && inode.isDirectory) inode.mode |= 0o2000;
    return inode;
  }

  cutOff(inode: Inode, size: number): void {
    const content = inode.content!;
    this.disk.note(content.save());
    content.truncate(size);
    this.disk.touch(inode);
    this.tell?.truncated(inode.ino, inode.gen, size, this.nowUs());
  }
}

/** EINVAL for what the addon refuses, ENAMETOOLONG for what the kernel does; else 0. */
export function wrongName(name: Uint8Array): number {
  if (name.includes(0)) return -Errno.EINVAL;
  if (name.includes(0x2f)) throw new Error(`${latin1(name)} is no name of one component`);
  return name.length > nameBytesMax ? -Errno.ENAMETOOLONG : 0;
}
