/**
 * `EpochJournal`: when a target session puts down what, in its journal (src/journal).
 *
 * While the target is made equal step by step it is of no one moment, and nothing is recorded. From
 * its first live epoch on each one is recorded before it is applied; with durability `power` all
 * that wait are recorded together, because the disk is waited for.
 */
import type { Applier } from "../apply/index.ts";
import { type Durability, Journal, type JournalFile } from "../journal/index.ts";
import type { Tree } from "../tree/index.ts";
import { type Commit, CommitFlag } from "../wire/index.ts";
import type { Files } from "../world/index.ts";
import type { HeldEpoch } from "./held-epoch.ts";

/** Epochs that wait for the disk together. */
export const recordedCountMax = 64;

export interface TargetJournal {
  /** Recovered; the session closes it. */
  readonly file: JournalFile;
  readonly durability: Durability;
}

export interface EpochJournalOptions extends TargetJournal {
  readonly files: Files;
  readonly rootFd: number;
  readonly tree: Tree;
  readonly applier: Applier;
}

export class EpochJournal {
  readonly #journal: Journal;
  readonly #isGrouping: boolean;
  /** Epochs that are recorded, from the next one to be applied on. */
  #recordedCount = 0;

  constructor(options: EpochJournalOptions) {
    this.#journal = new Journal(options);
    this.#isGrouping = options.durability === "power";
  }

  /** The target shows one moment of its source, and must do so from here on. */
  get isAtCut(): boolean {
    return this.#journal.cut !== undefined;
  }

  get bytes(): number {
    return this.#journal.bytes;
  }

  /**
   * The first of these epochs is going to be applied; `waiting` gives the one with this index. One
   * that `isAlone` is not recorded with others.
   */
  begin(
    count: number,
    waiting: (index: number) => HeldEpoch,
    isAlone: (epoch: HeldEpoch) => boolean,
  ): void {
    const journal = this.#journal;
    const first = waiting(0);
    if (first.commit === undefined) return journal.incomplete();
    if (!this.isAtCut || this.#recordedCount > 0) return;
    const epochs: HeldEpoch[] = [];
    const countMax = this.#isGrouping ? Math.min(count, recordedCountMax) : 1;
    for (let i = 0; i < countMax; i++) {
      const epoch = waiting(i);
      if (epoch.commit === undefined || (i > 0 && isAlone(epoch))) break;
      epochs.push(epoch);
    }
    journal.record(epochs);
    this.#recordedCount = epochs.length;
  }

  /** The same for one epoch alone, which is not recorded yet. See `Journal.recordInSlices`. */
  *beginInSlices(epoch: HeldEpoch, isOver: (bytes: number) => boolean): Generator<void, void> {
    if (epoch.commit === undefined) return this.#journal.incomplete();
    if (!this.isAtCut) return;
    yield* this.#journal.recordInSlices(epoch, isOver);
    this.#recordedCount = 1;
  }

  before(type: number, bytes: Uint8Array, start: number): void {
    if (this.#recordedCount > 0) this.#journal.before(type, bytes, start);
  }

  /** The first of the epochs that wait has been applied. */
  applied(commit: Commit | undefined): void {
    if (commit === undefined) return;
    if (this.#recordedCount > 0) {
      this.#recordedCount--;
      this.#journal.applied(commit);
    } else if (commit.flags & CommitFlag.live) this.#journal.complete(commit);
  }

  /** The same three for the bytes of one epoch. False when it has to be held first. */
  beginWhole(epoch: Uint8Array, isWritten: boolean): boolean {
    const journal = this.#journal;
    if (!this.isAtCut) return false;
    if (isWritten) journal.recordedAhead(epoch.length);
    else if (!journal.recordWhole(epoch)) return false;
    journal.beforeWhole(epoch);
    this.#recordedCount = 1;
    return true;
  }

  /** Something is recorded that has not been applied: the next session does it. */
  get isPending(): boolean {
    return this.#recordedCount > 0;
  }

  /** See `Journal`. */
  get ahead(): Journal["ahead"] {
    return this.#journal.ahead;
  }

  isDescribed(node: number): boolean {
    return this.#journal.isDescribed(node);
  }

  /** `isLast`: the process is asked to stop. */
  close(isLast: boolean): void {
    if (this.isPending) this.#journal.abandon();
    else this.#journal.close(isLast);
  }
}
