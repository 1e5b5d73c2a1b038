/**
 * `EpochWork`: records and applies the epochs that wait, the first of them each time.
 *
 * In: epochs in order. Out: operations to the journal and the applier. A small epoch is done at
 * once. A large one is done in slices (`Pace`), and others have their turn between them: it stays
 * the first of those that wait until it is done, so nothing takes the target for being at a cut
 * meanwhile. What ends in the middle of it leaves it to the journal, or, when it had not been
 * recorded whole, at the cut before it.
 */
import { decodeOperation, FrameType, type Operations } from "../wire/index.ts";
import type { Clock } from "../world/index.ts";
import type { EpochBackup } from "./epoch-backup.ts";
import type { EpochJournal } from "./epoch-journal.ts";
import type { HeldEpoch } from "./held-epoch.ts";
import { drainMsMax, largeDrainMsMax } from "./limits.ts";
import { Pace, type SliceBudget, sliceBudgetDefault } from "./pace.ts";
import type { SpaceFloor } from "./space-floor.ts";

/** What a CLONE counts for: it may copy many bytes. */
const cloneWorkBytes = 1048576;

export interface EpochWorkOptions {
  readonly clock: Clock;
  /** What is usual when absent. */
  readonly slices: SliceBudget | undefined;
  readonly floor: Pick<SpaceFloor, "passes" | "holds">;
  readonly journal: EpochJournal | undefined;
  /** Until the target is live. */
  readonly backup: EpochBackup | undefined;
  readonly status: { readonly live: boolean };
  /** On a later turn: there is more to do. */
  readonly goOn: () => void;
}

export class EpochWork {
  readonly #of: EpochWorkOptions;
  readonly #pace: Pace;
  /** Of a large epoch: what is left to be done of the first that waits. */
  #rest: Generator<void, void> | undefined;
  #isDeferred = false;
  readonly #slices: SliceBudget;

  constructor(options: EpochWorkOptions) {
    this.#of = options;
    this.#slices = options.slices ?? sliceBudgetDefault;
    this.#pace = new Pace(options.clock, this.#slices);
  }

  /** The target is between two cuts. */
  get isUnderWay(): boolean {
    return this.#rest !== undefined;
  }

  /** Epochs are going to be worked on, until `step` or `isOver` says that it is enough. */
  begin(): void {
    this.#pace.begin();
  }

  /** Nothing is begun that there is no space for. */
  mustWait({ dataBytes }: HeldEpoch): boolean {
    const { floor } = this.#of;
    return dataBytes > 0 && !floor.passes(dataBytes) && floor.holds(dataBytes);
  }

  /** One step towards having kept what the epoch changes; true when there is nothing to keep. */
  isBackedUp(epoch: HeldEpoch): boolean {
    const { backup, status } = this.#of;
    return backup === undefined || status.live || backup.step(epoch);
  }

  /** It is enough for now: the event loop has its turn first. */
  rest(): void {
    if (this.#isDeferred) return;
    this.#isDeferred = true;
    this.#of.clock.defer(() => {
      this.#isDeferred = false;
      this.#of.goOn();
    });
  }

  /**
   * The first of `count` epochs is recorded and applied; `waiting` gives the one with this index.
   * False: there is more to do of it, on a later turn. Throws as the journal and `to`.
   */
  step(count: number, waiting: (index: number) => HeldEpoch, to: Operations): boolean {
    if (this.#rest === undefined) {
      const epoch = waiting(0);
      if (!this.#isLarge(epoch)) {
        this.#of.journal?.begin(count, waiting, (other) => this.#isLarge(other));
        this.#applyAtOnce(epoch, to);
        return true;
      }
      this.#rest = this.#inSlices(epoch, to);
    }
    let isDone: boolean | undefined = true;
    try {
      isDone = this.#rest.next().done;
    } finally {
      if (isDone === true) this.#rest = undefined;
    }
    return isDone === true;
  }

  /** After an epoch has been applied: whether the next is for a later turn. */
  isOver({ bytes }: HeldEpoch): boolean {
    return this.#pace.isOver(bytes);
  }

  /**
   * Time to finish what is in hand. What is recorded of a large epoch has to be carried out anyhow:
   * by the next session in one go, if not here.
   */
  drainMs(isStopping: boolean): number {
    return this.isUnderWay && !isStopping ? largeDrainMsMax : drainMsMax;
  }

  /** The first of those that wait is not going to be finished. */
  abandon(): void {
    this.#rest = undefined;
  }

  #isLarge({ bytes, hasClones }: HeldEpoch): boolean {
    return bytes >= this.#slices.fromBytes || hasClones;
  }

  #applyAtOnce(epoch: HeldEpoch, to: Operations): void {
    const { journal } = this.#of;
    epoch.consume((type, frame, start, end) => {
      journal?.before(type, frame, start);
      decodeOperation(type, frame, start, end, to);
    });
  }

  *#inSlices(epoch: HeldEpoch, to: Operations): Generator<void, void> {
    const { journal } = this.#of;
    const pace = this.#pace;
    const isOver = (bytes: number): boolean => pace.isOver(bytes);
    if (journal !== undefined) yield* journal.beginInSlices(epoch, isOver);
    const cursor = epoch.cursor();
    while (cursor.next()) {
      const { type, bytes, start, end } = cursor;
      journal?.before(type, bytes, start);
      decodeOperation(type, bytes, start, end, to);
      if (pace.isOver(type === FrameType.clone ? cloneWorkBytes : end - start)) yield;
    }
    epoch.release();
  }
}
