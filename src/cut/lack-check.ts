/**
 * `LackCheck`: whether an epoch may lack what is older than something that it has.
 *
 * What was read is of one moment when nothing of it was touched until the next look. But a call is
 * told when it returns, and others can see what it has written before. Such a change may have been
 * read, and one that its program made before, to something else, has been told too late to be in
 * this epoch (docs/adr/0036-calls-under-way.md). An epoch that leaves nothing dirty lacks nothing;
 * for any other capture is asked for calls under way that can be in it.
 *
 * In: the dirty set after the look that validates. Out: whether to read on, and `isLacking`.
 */
import type { CaptureBackend } from "../capture/index.ts";
import type { Tree } from "../tree/index.ts";
import type { Clock } from "../world/index.ts";
import type { CutMoment } from "./cut-moment.ts";
import type { DirtySet } from "./dirty-set.ts";
import { lackRoundCountMax } from "./limits.ts";

/** Who has not asked for so long lets capture rest. */
const restUs = 10_000_000;

export interface LackCheckOptions {
  dirty: DirtySet;
  tree: Tree;
  moment: CutMoment;
  clock: Clock;
  /** Tells the dirty set everything that has happened so far. */
  drain: (dirty: DirtySet) => void;
  /** Knows calls under way; nobody does when absent. */
  backend?: Pick<CaptureBackend, "underWay">;
}

export class LackCheck {
  /** The epoch is a part of a file that is written in order: what follows is known to. */
  isPart = false;
  /** The epoch may lack something, as was found last. */
  isLacking = false;
  readonly #of: LackCheckOptions;
  /** The look after which nothing was left. */
  #emptyLook = 0;
  #askedUs = -Infinity;

  constructor(options: LackCheckOptions) {
    this.#of = options;
  }

  beginEpoch(): void {
    this.isPart = false;
    this.isLacking = false;
  }

  /** Everything that was told is in the epoch. */
  closed(): void {
    this.isLacking = false;
    this.#emptyLook = this.#of.moment.heardLook;
  }

  /**
   * After the look that validates: whether the epoch is to be read on, because of a conflict or of
   * something that it may lack. It is given up after some rounds, and `isLacking` then.
   */
  isTorn(round: number): boolean {
    const { dirty } = this.#of;
    this.isLacking = false;
    if (dirty.conflict) return true;
    if (dirty.isEmpty || this.#isRestClosed()) {
      this.closed();
      return false;
    }
    const mayBeRead = this.#mayBeRead();
    if (dirty.conflict) return true;
    this.isLacking = mayBeRead;
    return mayBeRead && round < lackRoundCountMax;
  }

  /** Nothing was left for a while. */
  rest(): void {
    if (this.#askedUs + restUs > this.#of.clock.monotonicUs()) return;
    this.#askedUs = Infinity;
    this.#of.backend?.underWay?.rest();
  }

  /** What is dirty is only told to have been closed. */
  #isRestClosed(): boolean {
    const { dirty } = this.#of;
    if (!dirty.hasNodesOnly) return false;
    for (const [, { extents, metadata }] of dirty.entries()) {
      if (metadata || !extents.isEmpty) return false;
    }
    return true;
  }

  #mayBeRead(): boolean {
    const { dirty, tree, moment, clock, drain } = this.#of;
    const underWay = this.#of.backend?.underWay;
    if (underWay === undefined) return true;
    this.#askedUs = clock.monotonicUs();
    // A part leaves behind what was told before it was planned.
    const since = this.isPart ? this.#emptyLook : moment.plannedLook;
    const mayBeRead = underWay.mayBeRead(since, (ino, gen, from) => {
      const node = tree.byInode(ino, gen);
      return node !== 0 && dirty.wasReadFrom(node, from);
    });
    // Whoever was under way and has returned is told now: it is a conflict if it was read.
    drain(dirty);
    return mayBeRead;
  }
}
