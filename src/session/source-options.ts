/** What a `SourceSession` is given, and what it tells of itself. */
import type { TargetPromises } from "./target-options.ts";
import type { SyncError } from "../base/index.ts";
import type { CaptureBackend, FollowedMounts } from "../capture/index.ts";
import type { CutCounters, DeletionLimit, DigestUse, UnknownStores } from "../cut/index.ts";
import type { IgnoreSettings } from "../ignore/index.ts";
import type { MountLog, ProblemLog } from "../model/index.ts";
import type { Link } from "../transport/index.ts";
import type { ExpressPort, Files, World } from "../world/index.ts";
import type { Scrub, ScrubCounters } from "./scrub.ts";

export interface SourceSessionOptions {
  world: World;
  files: Files;
  backend: CaptureBackend;
  rootFd: number;
  rootPath: Uint8Array;
  link: Link;
  problems: ProblemLog;
  /** What is neither sent nor removed; nothing when absent. */
  ignore?: IgnoreSettings;
  mounts?: MountLog;
  /** Filesystems below the root that are mirrored, too; none when absent. */
  followed?: FollowedMounts;
  share: string;
  subpath: string;
  device: string;
  /** How much may be deleted without asking a person; everything when absent. */
  maxDelete?: DeletionLimit;
  /** A person has agreed to what is deleted until the target is live. */
  deletionsConfirmed?: boolean;
  checksum?: boolean;
  /** What the target is held to; the least when absent. */
  promises?: TargetPromises;
  /** False only in tests that are to find it out. */
  validatesCuts?: boolean;
  /** Files that were stored to before the tree knew them; outlives the session. */
  unknownStores?: UnknownStores;
  /** Sends small writes before JavaScript is called; never when absent. */
  express?: ExpressPort;
  /** Where digests pay; for tests. */
  digestUse?: DigestUse;
  /** The target waits for space; undefined when it goes on. */
  onTargetHalt?: (halt: SyncError | undefined) => void;
  /** Compares what the target has with the source while it is live; absent for never. */
  scrub?: Scrub;
  /** The target equals the source for the first time, and has said so. */
  onLive: () => void;
}

export interface SourceStatus extends CutCounters, ScrubCounters {
  /** Of the last comparison of everything: names of files found equal or sent. */
  filesDone: number;
  /** Of their content, holes included. */
  contentBytes: number;
  live: boolean;
  sentEpoch: number;
  ackedEpoch: number;
  bytesSent: number;
  bytesReceived: number;
  bytesInFlight: number;
  nodes: number;
  names: number;
  dirtyNames: number;
  dirtyNodes: number;
  captureDropped: number;
  changes: number;
  roundTripUs: number;
  /** Time from the newest acknowledged epoch's oldest change to its acknowledgement. */
  lagUs: number;
  /** Epochs that the addon has sent before it called. */
  epochsAhead: number;
  /** Wall clock of the newest epoch known to be applied. */
  ackedWallMs: number;
}

/** An epoch on its way, until the target has acknowledged it. */
export interface SentEpoch {
  epoch: number;
  oldestUs: number;
  wallMs: number;
  live: boolean;
  /** Node ids that may be used again when the target has applied the epoch. */
  freedIds: readonly number[];
}

export const noEpoch: SentEpoch = {
  epoch: 0,
  oldestUs: Infinity,
  wallMs: 0,
  live: false,
  freedIds: [],
};
