/**
 * `CaptureBackend`: a source of kernel events below one folder, and `ChangeSink`, what it tells.
 *
 * The contract, checked by test/contract/capture.test.ts for every backend:
 * - `drain` tells everything that happened before the call, in an order in which a change that one
 *   program made before another is never missing while the later one is told.
 * - A change may be told more than once and more widely than it was, never less: an extent may be
 *   too wide, a name may turn out to be unchanged. Whoever is told looks at the file itself.
 * - Events below a directory that nobody knows yet may be missing: whoever discovers a directory
 *   scans it, after `watchDirectory` has returned.
 * - What was lost is told: `overflow` (look at everything) or `lost` (look at one file).
 * - The backend's own process is never reported.
 */

import type { CallsUnderWay } from "./calls-under-way.ts";
import type { HotReading } from "./hot-reading.ts";

export type BackendName = "ebpf" | "fanotify" | "inotify";

/** How a name of a directory changed. Only a hint: the name is looked at. */
export const NameChange = { created: 1, deleted: 2, moved: 4, content: 8, metadata: 16 } as const;

/** Identifies a node as the kernel does: inode number and generation (0 where unknown). */
/** Where a path starts: as process `processId` saw it, relative to its `directoryFd`. */
export interface PathStart {
  processId: number;
  directoryFd: number;
  /** The directory of a relative path; 0 when that is not known. */
  ino: number;
  gen: number;
}

export interface ChangeSink {
  /**
   * Bytes [from, to) changed. `sharedPosition`: the descriptor was shared with other threads, so a
   * neighbouring write may have been told at this one's place. `mapped`: shared mappings exist.
   */
  written(
    ino: number,
    gen: number,
    from: number,
    to: number,
    timeUs: number,
    sharedPosition: boolean,
    mapped: boolean,
  ): void;
  /** Bytes were added at the end, whose position is not known. */
  appended(ino: number, gen: number, timeUs: number): void;
  /** Everything from `size` on changed. `isCut`: it was cut or grown, and ended there then. */
  truncated(ino: number, gen: number, size: number, timeUs: number, isCut?: boolean): void;
  /** Content changed, extent unknown. */
  unknownContent(ino: number, gen: number): void;
  /** [from, to) is being stored to through a shared mapping; it may go on changing silently. */
  stored(ino: number, gen: number, from: number, to: number): void;
  /** A writable shared mapping of the file was made: pages already dirty may change silently. */
  mapped(ino: number, gen: number): void;
  /** Mode, owner, times or extended attributes changed. */
  attributes(ino: number, gen: number): void;
  /** A descriptor open for writing was closed: reveals a writer that went unseen. */
  closed(ino: number, gen: number): void;
  /** A name of a directory changed. `name` is the receiver's to keep. Child 0: unknown. */
  name(
    directoryIno: number,
    directoryGen: number,
    name: Uint8Array,
    childIno: number,
    childGen: number,
    change: number,
  ): void;
  /** A change named by a path. */
  path(path: Uint8Array, start: PathStart, truncatedTo: number): void;
  /** Records of this file were lost: compare all of it. */
  lost(ino: number, gen: number): void;
  /** Records of unknown files were lost: compare everything. */
  overflow(): void;
}

/**
 * One of several that listen to one capture. All of it is called out of another's drain or step,
 * and may only note: no drain, no cut.
 */
export interface Listener {
  /** Hears every change from `attach` on, whoever drains. */
  readonly sink: ChangeSink;
  /** What another drained told something: comes back to it on a later turn. */
  wake(): void;
  /** Another's last drain ended with more to tell, so what was told is no moment yet. */
  unfinished(): void;
  /** Another has just cleaned these pages: whatever was stored to them so far can be read now. */
  cleaned(ino: number, gen: number, from: number, to: number): void;
}

/** The part of a listener that shares its capture with others (capture-hub.ts). */
export interface CaptureShare {
  /** From now on this listener hears everything, and the one before it nothing. */
  attach(listener: Listener): void;
  /** The latest leaves; the one that it took the place of hears everything again. */
  detach(): void;
  /** This listener ended its drains with more to tell. */
  unfinished(): void;
  /** This listener has cleaned pages that others may have waited for. */
  cleaned(ino: number, gen: number, from: number, to: number): void;
}

/** Handles of the addon, for an express lane. */
export interface CaptureHandles {
  readonly poll: unknown;
  readonly capture: unknown;
}

export interface CaptureBackend {
  readonly name: BackendName;
  /** Absent: whoever drains is the only listener. */
  readonly share?: CaptureShare;
  /** Whether `written` tells extents; without, every change of content is `unknownContent`. */
  readonly tellsExtents: boolean;
  /** Records lost so far (each was also told by `lost` or `overflow`). */
  readonly droppedCount: number;
  /** What the addon knows it by, once it is started; absent where there is no such thing. */
  readonly handles?: CaptureHandles | undefined;
  /**
   * Calls `readable` on the event loop whenever events wait; `isDealt`: an express lane has taken
   * them already. Called once.
   */
  start(readable: (isDealt?: boolean) => void): void;
  /** Tells what has happened. True when more waits than fitted: call again. */
  drain(sink: ChangeSink): boolean;
  /**
   * The same, and reads extents meanwhile until nothing of them was touched after it was read.
   * Absent where extents are not known.
   */
  readHot?: ((reading: HotReading, sink: ChangeSink) => boolean) | undefined;
  /** Which calls of others have begun and not returned; absent where nobody knows. */
  readonly underWay?: CallsUnderWay | undefined;
  /**
   * Tells of one more filesystem from now on, mounted below the root; absent where watching its
   * directories is all there is to it. Its inodes have its number (inode-keys.ts). 0, or a negative
   * errno.
   */
  follow?(number: number, directoryFd: number, device: number): number;
  unfollow?(number: number): void;
  /** Whether a filesystem that is followed has not been unmounted for good since. */
  stillFollows?(number: number): boolean;
  /** To be called before a directory is scanned. 0, or a negative errno. */
  watchDirectory(directoryFd: number, ino: number, gen: number): number;
  /** The directory has left the tree. */
  unwatchDirectory(ino: number, gen: number): void;
  close(): void;
}

const ignore = (): void => {};

/** A sink that hears nothing: to empty a backend whose events are of no use. */
export const deafSink: ChangeSink = {
  written: ignore,
  appended: ignore,
  truncated: ignore,
  unknownContent: ignore,
  stored: ignore,
  mapped: ignore,
  attributes: ignore,
  closed: ignore,
  name: ignore,
  path: ignore,
  lost: ignore,
  overflow: ignore,
};
