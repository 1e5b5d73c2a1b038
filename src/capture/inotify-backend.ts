/**
 * The `inotify` backend: needs no privilege, watches one directory at a time, knows which name
 * changed but not which bytes.
 *
 * In: raw records of one inotify descriptor. Out: calls of a ChangeSink, by directory and name; the
 * child's identity is never known here (0).
 * Invariants: a watch belongs to one (inode, generation); a record of a watch that is no longer
 * known is left out, because whoever looks at that directory again scans it first. Watches are few
 * (fs.inotify.max_user_watches): their lack is returned by watchDirectory, never hidden.
 *
 * What inotify cannot see, whatever this file does (LIMITS.md):
 * - Stores through a shared mapping. A later close of a writable descriptor is told as a change of
 *   content, which finds them late, or never when the program does not close.
 * - Linux AIO (io_submit) until the descriptor is closed: the kernel raises no event for it.
 * - Changes through a name outside the tree of a file that also has a name inside (hard links).
 * - Changes of a file through a name that was unlinked meanwhile, while another name is left.
 * - Writers inside the kernel: loop devices, the NFS server, an overlay mounted over the tree.
 * - Which process made a change: this process' own changes are told too. Harmless, since nothing is
 *   written below the source, and the target never lies inside it.
 * Changes in other mount namespaces and by chrooted processes are seen: watches are on inodes.
 * Source: man 7 inotify; fs/notify/inotify/ in Linux.
 */
import { assert, SyncError } from "../base/index.ts";
import { Errno, errnoName, Stat, statSlots } from "../world/index.ts";
import type { Files, Kernel } from "../world/index.ts";
import { type CaptureBackend, type ChangeSink, NameChange } from "./backend.ts";
import { InotifyMask, parseInotifyRecords } from "./inotify-records.ts";

/** Bytes read at once: some 2,000 records; the largest record has 272. */
export const inotifyReadBytesMax = 65536;
/** Reads of one drain, after which it says that more may wait, so that it ends under any load. */
export const inotifyReadCountMax = 64;

const watchMask =
  InotifyMask.modify |
  InotifyMask.attrib |
  InotifyMask.closeWrite |
  InotifyMask.movedFrom |
  InotifyMask.movedTo |
  InotifyMask.create |
  InotifyMask.delete |
  InotifyMask.deleteSelf |
  InotifyMask.moveSelf |
  InotifyMask.onlyDirectory;

interface WatchedDirectory {
  readonly ino: number;
  readonly gen: number;
}

/**
 * Opens the backend and watches the root, so that a lack of watches shows at once.
 * Ownership: `rootFd` stays the caller's. Errors: BACKEND_UNAVAILABLE.
 */
export function openInotifyBackend(system: Kernel & Files, rootFd: number): CaptureBackend {
  const fd = system.inotifyInit();
  if (fd < 0) {
    const hint = fd === -Errno.EMFILE ? " (fs.inotify.max_user_instances)" : "";
    throw new SyncError("BACKEND_UNAVAILABLE", `backend inotify: ${errnoName(fd)}${hint}`);
  }
  const backend = new InotifyBackend(system, fd);
  const stat = new Float64Array(statSlots);
  let result = system.statAt(rootFd, new Uint8Array(0), stat);
  if (result >= 0) result = backend.watchDirectory(rootFd, stat[Stat.ino]!, stat[Stat.gen]!);
  if (result < 0) {
    backend.close();
    const hint = result === -Errno.ENOSPC ? " (fs.inotify.max_user_watches)" : "";
    const message = `backend inotify: cannot watch the root: ${errnoName(result)}${hint}`;
    throw new SyncError("BACKEND_UNAVAILABLE", message);
  }
  return backend;
}

class InotifyBackend implements CaptureBackend {
  readonly name = "inotify";
  readonly tellsExtents = false;
  readonly #system: Kernel & Files;
  readonly #fd: number;
  readonly #bytes: Uint8Array = new Uint8Array(inotifyReadBytesMax);
  readonly #directoryOf = new Map<number, WatchedDirectory>();
  /** Inode -> watch. */
  readonly #watchOf = new Map<number, number>();
  #poll: unknown;
  #overflows = 0;

  constructor(system: Kernel & Files, fd: number) {
    this.#system = system;
    this.#fd = fd;
  }

  get droppedCount(): number {
    return this.#overflows;
  }

  start(readable: () => void): void {
    // What it calls with is the poll's events, and no word of an express lane.
    this.#poll = this.#system.pollStart(this.#fd, () => readable());
  }

  drain(sink: ChangeSink): boolean {
    for (let count = 0; count < inotifyReadCountMax; count++) {
      const end = this.#system.inotifyRead(this.#fd, this.#bytes);
      assert(end >= 0, `inotify cannot be read: ${errnoName(end)}`);
      if (end === 0) return false;
      const parsed = parseInotifyRecords(this.#bytes, end, (watch, mask, name) =>
        this.#tell(sink, watch, mask, name),
      );
      if (parsed < end) this.#overflow(sink);
    }
    return true;
  }

  watchDirectory(directoryFd: number, ino: number, gen: number): number {
    const watch = this.#system.inotifyAdd(this.#fd, directoryFd, watchMask);
    if (watch < 0) return watch;
    this.#directoryOf.set(watch, { ino, gen });
    this.#watchOf.set(ino, watch);
    return 0;
  }

  unwatchDirectory(ino: number, gen: number): void {
    const watch = this.#watchOf.get(ino);
    if (watch === undefined || this.#directoryOf.get(watch)?.gen !== gen) return;
    this.#forget(watch);
    // EINVAL: the kernel has removed the watch together with the directory. Nothing to do then.
    this.#system.inotifyRemove(this.#fd, watch);
  }

  close(): void {
    if (this.#poll !== undefined) this.#system.pollStop(this.#poll);
    this.#system.close(this.#fd);
  }

  #tell(sink: ChangeSink, watch: number, mask: number, name: Uint8Array): void {
    if (mask & InotifyMask.queueOverflow) return this.#overflow(sink);
    const directory = this.#directoryOf.get(watch);
    if (directory === undefined) return;
    const { ino, gen } = directory;
    if (mask & InotifyMask.unmount) this.#overflow(sink);
    if (mask & InotifyMask.ignored) {
      this.#forget(watch);
    } else if (name.length > 0) {
      const change = changeOf(mask);
      if (change !== 0) sink.name(ino, gen, name, 0, 0, change);
    } else {
      // The directory itself: its metadata, or that it was moved or deleted. All mean: look at it.
      sink.attributes(ino, gen);
    }
  }

  #overflow(sink: ChangeSink): void {
    this.#overflows++;
    sink.overflow();
  }

  #forget(watch: number): void {
    const directory = this.#directoryOf.get(watch);
    if (directory === undefined) return;
    this.#directoryOf.delete(watch);
    if (this.#watchOf.get(directory.ino) === watch) this.#watchOf.delete(directory.ino);
  }
}

function changeOf(mask: number): number {
  let change = 0;
  if (mask & InotifyMask.create) change |= NameChange.created;
  if (mask & InotifyMask.delete) change |= NameChange.deleted;
  if (mask & (InotifyMask.movedFrom | InotifyMask.movedTo)) change |= NameChange.moved;
  if (mask & (InotifyMask.modify | InotifyMask.closeWrite)) change |= NameChange.content;
  if (mask & InotifyMask.attrib) change |= NameChange.metadata;
  return change;
}
