/**
 * `recover`: opens a target's journal and brings the target to a cut, if it was at one.
 *
 * In: the journal's place, the target's locked folder. Out: the journal, without records, and what
 * the target shows. A journal that only the process was to survive is not believed after the
 * machine has been started anew.
 * Errors: TARGET_FULL: free space and try again. JOURNAL_FAILED.
 */
import { removeOwnNames } from "../apply/index.ts";
import { SyncError } from "../base/index.ts";
import type { ProblemLog } from "../model/index.ts";
import type { Tree } from "../tree/index.ts";
import { keepKeyOf } from "../wire/index.ts";
import type { Files } from "../world/index.ts";
import type { Cut } from "./journal-format.ts";
import type { JournalFile } from "./journal-file.ts";
import { syncTarget } from "./journal.ts";
import { type Keeper, redo } from "./redo.ts";

export interface RecoverOptions {
  readonly files: Files;
  readonly rootFd: number;
  readonly file: JournalFile;
  readonly problems: ProblemLog;
  /** Of the machine's present run. */
  readonly bootId: string;
  /** Keeps what goes, like the session that died; without it nothing is kept. */
  readonly keeper?: (tree: Tree) => Keeper;
}

export interface Recovery {
  /** The moment that the target shows; undefined when it is of no one moment. */
  readonly cut: Cut | undefined;
  /** Operations of epochs that a crash had cut short. */
  readonly redone: number;
  /** Why a target that was at a cut is not any more; empty if it is, or never was. */
  readonly lost: string;
}

export function recover(options: RecoverOptions): Recovery {
  const { file, bootId } = options;
  const { header } = file;
  const isCertain = header.durability === "power" || header.bootId === bootId || header.isSynced;
  if (!isCertain) {
    return give(options, "the machine was started anew, and --durability is process");
  }
  try {
    const redone = redo(options);
    const cut = redone?.cut ?? header.cut;
    if (redone === undefined) {
      if (cut !== undefined && !file.isTrimmed) removeHoldNames(options);
      return { cut, redone: 0, lost: "" };
    }
    if (header.durability === "power") syncTarget(options);
    file.writeHeader({ cut, isSynced: false }, true);
    return { cut, redone: redone.operations, lost: "" };
  } catch (error) {
    // What can be mended is tried again with the same journal.
    const isMendable = (code: string): boolean =>
      code === "TARGET_FULL" || code === "JOURNAL_FAILED";
    if (!(error instanceof SyncError) || isMendable(error.code)) throw error;
    return give(options, error.message);
  }
}

/** New files may have got theirs for a record that was not put down any more. */
function removeHoldNames({ files, rootFd }: RecoverOptions): void {
  removeOwnNames(files, rootFd, (name) => keepKeyOf(name) === undefined);
}

function give({ file }: RecoverOptions, lost: string): Recovery {
  const had = file.header.cut !== undefined || file.hasRecords;
  file.writeHeader({ cut: undefined, isSynced: false }, true);
  return { cut: undefined, redone: 0, lost: had ? lost : "" };
}
