/**
 * Promotion: a target that nobody mirrors into any more, at its last whole cut.
 *
 * In: the target's folder, that no session has now. Out: which moment it shows. What a crash has
 * left half applied is finished first; then names of our own are removed, all of it is written to
 * disk, and the journal says that no source may write here until the promotion is taken back.
 */
import { type BackupPlace, ownerFiles, removeOwnNames } from "../apply/index.ts";
import { SyncError } from "../base/index.ts";
import {
  type Cut,
  JournalFile,
  type JournalPlace,
  recover,
  type Recovery,
} from "../journal/index.ts";
import { ProblemLog } from "../model/index.ts";
import { errnoName, type Files, type Log, type World } from "../world/index.ts";
import type { SpoolPlace } from "./held-epoch.ts";
import { journalPlace } from "./journal-place.ts";
import { redoKeeper } from "./redo-keeper.ts";

export interface PromotionOptions {
  readonly world: World;
  readonly files: Files;
  readonly privileged: boolean;
  readonly state: SpoolPlace;
  /** Of the folder, real. */
  readonly path: string;
  /** Descriptor of the folder, locked by the caller. */
  readonly rootFd: number;
  readonly bootId: string;
  /** Where names are kept that a crash has left to be taken away. */
  readonly backup?: BackupPlace;
}

export interface Promotion {
  /** The moment that the target shows; undefined when it was taken as it is. */
  readonly cut: Cut | undefined;
  /** Operations that a crash had left to be carried out. */
  readonly redone: number;
  /** Wall clock. */
  readonly promotedMs: number;
}

/** Throws NO_TARGET, TARGET_INCOMPLETE unless it `isForced`, TARGET_FULL, JOURNAL_FAILED. */
export function promoteTarget(options: PromotionOptions, isForced: boolean): Promotion {
  const { files, path, rootFd, world } = options;
  const file = openKnown(options);
  try {
    const { header } = file;
    if (header.promotedMs !== undefined) {
      return { cut: header.cut, redone: 0, promotedMs: header.promotedMs };
    }
    const { cut, redone, lost } = recoverAt(options, file);
    if (cut === undefined && !isForced) {
      const why = lost === "" ? "its source had not yet made it equal" : lost;
      throw new SyncError("TARGET_INCOMPLETE", `${path} is of no one moment: ${why}`);
    }
    removeOwnNames(files, rootFd, () => true);
    const synced = files.syncFilesystem(rootFd);
    if (synced < 0) throw new SyncError("ROOT_UNWRITABLE", `${path}: ${errnoName(synced)}`);
    const promotedMs = world.clock.wallMs();
    file.writeHeader({ cut, promotedMs, isSynced: true }, true);
    return { cut, redone, promotedMs };
  } finally {
    file.close();
  }
}

/** Sources may write again; the next one compares everything. Throws NO_TARGET. */
export function takeBackPromotion(options: PromotionOptions): boolean {
  const file = openKnown(options);
  try {
    const wasPromoted = file.header.promotedMs !== undefined;
    // Whoever has worked with it has changed it: it is no past state of the source any more.
    if (wasPromoted) file.writeHeader({ cut: undefined, promotedMs: undefined }, true);
    return wasPromoted;
  } finally {
    file.close();
  }
}

/** Finishes what a crash has left half applied; a folder that was never a target is let pass. */
export function finishTarget(options: PromotionOptions): Recovery | undefined {
  const file = JournalFile.openExisting(placeOf(options));
  try {
    return file && recoverAt(options, file);
  } finally {
    file?.close();
  }
}

/** For whoever reads the log: what a crash had left, and what of it could not be made good. */
export function tellRecovery(log: Log, path: string, { redone, lost }: Recovery): void {
  if (redone > 0) log.write("info", `${path}: ${redone} operations finished from the journal`);
  if (lost !== "") log.write("warn", `${path} is at no one moment any more: ${lost}`);
}

function placeOf({ path, state, world, bootId }: PromotionOptions): JournalPlace {
  return journalPlace(path, state, world, bootId);
}

function openKnown(options: PromotionOptions): JournalFile {
  const file = JournalFile.openExisting(placeOf(options));
  if (file !== undefined) return file;
  throw new SyncError("NO_TARGET", `${options.path} has not been a target of this device and user`);
}

function recoverAt(options: PromotionOptions, file: JournalFile): Recovery {
  const { files, privileged, rootFd, bootId, world, backup } = options;
  const problems = new ProblemLog(() => {});
  const own = { files: privileged ? files : ownerFiles(files), rootFd, problems };
  return recover({ ...own, ...redoKeeper(own, world.clock, backup), file, bootId });
}
