/** What a `Cutter` is given, and what it counts. */
import type { CaptureBackend, FollowedMounts } from "../capture/index.ts";
import type { IgnoreSettings } from "../ignore/index.ts";
import type { MountLog, ProblemLog } from "../model/index.ts";
import type { Tree } from "../tree/index.ts";
import type { Clock, Files } from "../world/index.ts";
import type { OpWriter } from "../wire/index.ts";
import type { DeletionLimit } from "./deletion-guard.ts";
import type { SignaturePort } from "./delta-content.ts";
import type { DirtySet } from "./dirty-set.ts";
import type { UnknownStores } from "./unknown-stores.ts";

export interface CutterOptions {
  files: Files;
  clock: Clock;
  rootFd: number;
  /** Absolute and real. */
  rootPath: Uint8Array;
  tree: Tree;
  writer: OpWriter;
  problems: ProblemLog;
  /** Hears of mount points, which are left out. */
  mounts?: MountLog;
  /** Filesystems below the root that are mirrored, too; none when absent. */
  followed?: FollowedMounts;
  /** Tells the dirty set everything that has happened so far. */
  drain: (dirty: DirtySet) => void;
  /** The same, and reads what is hot; absent where extents are not known. */
  readHot?: CaptureBackend["readHot"];
  /** Knows which calls of others have begun and not returned; nobody does when absent. */
  backend?: Pick<CaptureBackend, "underWay">;
  /** To be called before a directory is scanned (inotify needs a watch first). */
  watchDirectory: (fd: number, ino: number, gen: number) => number;
  unwatchDirectory: (ino: number, gen: number) => void;
  hasRoom: () => boolean;
  /** How much may be deleted without asking a person; everything when absent. */
  maxDelete?: DeletionLimit;
  /** A person has agreed to what is deleted until the target first equals the source. */
  deletionsConfirmed?: boolean;
  /** Size and time are not trusted until the target first equals the source. */
  checksum?: boolean;
  /** How to ask the target what it has of a file; without it content is sent whole. */
  signatures?: SignaturePort;
  /** Whether capture knows which bytes change; it does if absent. */
  tellsExtents?: boolean;
  /** Instead of `deltaSeedBytesMin` and `deltaLiveBytesMin`. */
  deltaBytesMin?: number;
  /** These pages of a mapped file have been cleaned, and are read by this cutter. */
  storesCleaned?: (node: number, from: number, to: number) => void;
  /** No rules when absent. */
  ignore?: IgnoreSettings;
  /** Files that were stored to before the tree knew them; outlives the cutter. */
  unknownStores?: UnknownStores;
  /** False only in tests that are to find it out: no conflict is noticed. */
  validatesCuts?: boolean;
  /** `orderedBytesMax` when absent. */
  orderedBytes?: number;
}

export interface CutCounters {
  epochs: number;
  fuzzyEpochs: number;
  /** Closed by a reading of hot extents. */
  hotEpochs: number;
  rounds: number;
  operations: number;
  rescans: number;
  filesScanned: number;
}

export function newCounters(): CutCounters {
  return {
    ...{ epochs: 0, fuzzyEpochs: 0, hotEpochs: 0, rounds: 0, operations: 0, rescans: 0 },
    filesScanned: 0,
  };
}
