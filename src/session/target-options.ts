/** `TargetSession`: what it is made with, and what it tells of itself. */
import type { BackupPlace, OriginPlace } from "../apply/index.ts";
import type { Durability } from "../journal/index.ts";
import type { SyncError } from "../base/index.ts";
import type { MountLog, ProblemLog } from "../model/index.ts";
import type { Link } from "../transport/index.ts";
import type { ExpressPort, Files, Lanes, World } from "../world/index.ts";
import type { SpoolPlace } from "./held-epoch.ts";
import type { TargetJournal } from "./epoch-journal.ts";
import type { SliceBudget } from "./pace.ts";
import type { FreeLimit } from "./space-floor.ts";

export interface TargetSessionOptions {
  world: World;
  files: Files;
  /** Threads for new files while the target is made equal; none when absent. */
  lanes?: Lanes;
  /** Writes what is small before JavaScript is called; never when absent. */
  express?: ExpressPort;
  link: Link;
  /** Descriptor of the target's root, locked by the caller, who closes it. */
  rootFd: number;
  /** Where large epochs are spooled. */
  spool: SpoolPlace;
  problems: ProblemLog;
  /** Hears of mount points below the target, which are left alone. */
  mounts?: MountLog;
  privileged: boolean;
  /** The source can go on with files that an earlier link has begun. */
  canKeep: boolean;
  /** What the source knows beyond the first version. */
  sourceFeatures: readonly string[];
  /** What is remembered of the source's inodes; nothing when absent. */
  index?: OriginPlace | undefined;
  /** Where it is put down what is going to be applied; nowhere when absent. */
  journal?: TargetJournal | undefined;
  /** `strict`: the target shows proved moments of the source only. */
  consistency?: Consistency | undefined;
  /** How much of the target's filesystem is to stay free; nothing when absent. */
  minFree?: FreeLimit;
  /** Where what goes is kept; it is not when absent. */
  backup?: BackupPlace;
  /** How long it works on a large epoch before others have their turn. */
  slices?: SliceBudget;
  onLive: () => void;
  /** Data waits for space; undefined when it is over. */
  onLow?: (halt: SyncError | undefined) => void;
}

/** Whether epochs that are not proved to be of one moment are applied as they are, or held. */
export type Consistency = "bounded" | "strict";

/** What a source wants its target to be held to. */
export interface TargetPromises {
  /** What an acknowledged change survives at the target. */
  readonly durability: Durability;
  readonly consistency: Consistency;
}

export interface TargetStatus {
  live: boolean;
  epoch: number;
  fuzzyEpochs: number;
  /** The newest applied epoch was. */
  isFuzzy: boolean;
  /** Wall clock of the newest applied cut, as the source told it. */
  cutWallMs: number;
  operations: number;
  heldBytes: number;
  spoolBytes: number;
  /** Of what would have to be carried out again after a crash. */
  journalBytes: number;
  nodes: number;
  /** What it waits for; empty if it does not. */
  halt: string;
  /** Epochs whose content the addon has written before it called. */
  epochsAhead: number;
}

export const noStatus: TargetStatus = {
  live: false,
  epoch: 0,
  fuzzyEpochs: 0,
  isFuzzy: false,
  cutWallMs: 0,
  operations: 0,
  heldBytes: 0,
  spoolBytes: 0,
  journalBytes: 0,
  nodes: 0,
  halt: "",
  epochsAhead: 0,
};
