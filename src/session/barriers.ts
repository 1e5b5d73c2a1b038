/**
 * `Barriers`: for each flush that somebody waits for, the moment at which the target has everything
 * that was written before it was asked for.
 *
 *   drain -> clean -> mark -> send -> reached
 *
 * drain: capture has told everything up to now: a drain that began after the call left nothing.
 * clean: files that are stored to through mappings are written out and thereby readable; where
 *        capture hears nothing of such stores, files that are mapped are read whole.
 * mark:  the cut says which epoch has all that was dirty then (cut-marks.ts).
 * send:  the target has acknowledged that epoch. What an acknowledgement stands for is the target's
 *        durability, so a barrier is as durable as the acknowledgement that ends it: `isAtTarget`.
 *
 * A rule file that has just changed counts only after a rest; what it uncovers is waited for once.
 * Nothing is sent for a barrier. Cost: without one, a comparison for each drain, step and
 * acknowledgement; on an idle mirror, one drain.
 * Limits: how many are waited for is the caller's.
 */
import { inodeIn } from "../capture/index.ts";
import type { Cutter } from "../cut/index.ts";
import type { Tree } from "../tree/index.ts";
import { type Clock, Mode } from "../world/index.ts";
import type { SentEpoch } from "./source-options.ts";

/** The newest cut that the target is known to have. */
export interface ReachedCut {
  readonly epoch: number;
  /** The source's wall clock when it was taken. */
  readonly wallMs: number;
}

export interface Barrier {
  readonly reached: (cut: ReachedCut) => void;
  /** Inode numbers of files that are mapped shared, for where capture does not tell of stores. */
  readonly mappedInodes: readonly number[];
}

type Stage = "drain" | "clean" | "mark" | "rules" | "send" | "over";

interface Waiting {
  readonly barrier: Barrier;
  stage: Stage;
  isClean: () => boolean;
  hasWaitedForRules: boolean;
  epoch: number;
}

interface BarriersOptions {
  readonly cutter: Cutter;
  readonly tree: Tree;
  readonly clock: Clock;
  readonly acked: () => SentEpoch;
  /** Has capture drained, soon or at once; `drained` is told. */
  readonly drain: () => void;
  readonly wakeCut: () => void;
}

export class Barriers {
  readonly #of: BarriersOptions;
  #waiting: readonly Waiting[] = [];

  constructor(of: BarriersOptions) {
    this.#of = of;
  }

  add(barrier: Barrier): void {
    const start = { stage: "drain" as const, isClean: () => true, hasWaitedForRules: false };
    this.#waiting = [...this.#waiting, { barrier, ...start, epoch: Infinity }];
    this.#of.drain();
  }

  /** A drain has ended that left nothing: all that happened before it is dirty now. */
  drained(): void {
    if (this.#waiting.length === 0) return;
    const { cutter, clock } = this.#of;
    for (const waiting of this.#waiting) {
      if (waiting.stage !== "drain") continue;
      waiting.stage = "clean";
      waiting.isClean = cutter.stores.hasten(clock.monotonicUs());
      this.#of.wakeCut();
    }
  }

  /** To be called when stores and rules that have rested were settled, before the cut goes on. */
  step(): void {
    if (this.#waiting.length === 0) return;
    const { rules } = this.#of.cutter;
    for (const waiting of this.#waiting) {
      const { stage } = waiting;
      if (stage === "clean" && waiting.isClean()) {
        this.#readMapped(waiting.barrier.mappedInodes);
        this.#mark(waiting);
      } else if (stage === "rules" && !rules.isResting) {
        this.#mark(waiting);
      }
    }
  }

  /** An acknowledgement has come. */
  acked(): void {
    if (this.#waiting.length === 0) return;
    for (const waiting of this.#waiting) {
      if (waiting.stage === "send" && this.#isAtTarget(waiting.epoch)) this.#reach(waiting);
    }
  }

  /** As durable as the target's acknowledgements are. */
  #isAtTarget(epoch: number): boolean {
    return this.#of.acked().epoch >= epoch;
  }

  #mark(waiting: Waiting): void {
    const { cutter } = this.#of;
    waiting.stage = "mark";
    // A cut that is at rest may lack room for another step; it needs none.
    if (cutter.isIdle) this.#covered(waiting, cutter.counters.epochs);
    else cutter.marks.set((epoch) => this.#covered(waiting, epoch));
  }

  #covered(waiting: Waiting, epoch: number): void {
    waiting.epoch = epoch;
    if (this.#of.cutter.rules.isResting && !waiting.hasWaitedForRules) {
      waiting.hasWaitedForRules = true;
      waiting.stage = "rules";
      return;
    }
    waiting.stage = "send";
    if (this.#isAtTarget(epoch)) this.#reach(waiting);
  }

  #reach(waiting: Waiting): void {
    waiting.stage = "over";
    this.#waiting = this.#waiting.filter((other) => other !== waiting);
    const { epoch, wallMs } = this.#of.acked();
    waiting.barrier.reached({ epoch, wallMs });
  }

  #readMapped(inodes: readonly number[]): void {
    if (inodes.length === 0) return;
    const { tree, cutter } = this.#of;
    const mapped = new Set(inodes);
    for (let node = 1; node < tree.endId; node++) {
      if (!tree.isLive(node) || !mapped.has(inodeIn(tree.ino[node]!))) continue;
      const isFile = (tree.mode[node]! & Mode.typeMask) === Mode.regular;
      if (isFile) cutter.dirty.addChanged(node, 0, Infinity);
    }
  }
}
