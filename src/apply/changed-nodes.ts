/**
 * `ChangedNodes`: nodes of the target whose record in the index is out of date, with the epoch that
 * changed them last, so that it can be told which have rested since. `mark` is on the hot path: two
 * looks at an array. At most one entry a node.
 */

/** Nodes taken: some changed before a given epoch, the others later. */
export interface TakenNodes {
  readonly rested: readonly number[];
  readonly fresh: readonly number[];
}

export class ChangedNodes {
  /** Whether anybody takes what is marked. */
  isOn = false;
  /** The epoch that is under way. */
  epoch = 2;
  #epochOf: Uint32Array = new Uint32Array(64);
  #nodes: number[] = [];

  get count(): number {
    return this.#nodes.length;
  }

  mark(node: number): void {
    if (this.isOn) this.#mark(node, this.epoch);
  }

  /** It cannot be dealt with now; it waits with those of the last epoch. */
  again(node: number): void {
    if (!this.isMarked(node)) this.#mark(node, this.epoch - 1);
  }

  isMarked(node: number): boolean {
    return node < this.#epochOf.length && this.#epochOf[node] !== 0;
  }

  /** The epoch under way is whole; another begins. */
  commit(): void {
    this.epoch++;
  }

  /** Takes those changed before `end`; the ones changed before `restedEnd` apart. */
  take(end: number, restedEnd: number): TakenNodes {
    const kept: number[] = [];
    const rested: number[] = [];
    const fresh: number[] = [];
    for (const node of this.#nodes) {
      const epoch = this.#epochOf[node]!;
      if (epoch >= end) {
        kept.push(node);
        continue;
      }
      this.#epochOf[node] = 0;
      (epoch < restedEnd ? rested : fresh).push(node);
    }
    this.#nodes = kept;
    return { rested, fresh };
  }

  #mark(node: number, epoch: number): void {
    if (node >= this.#epochOf.length) {
      const wider = new Uint32Array(Math.max(node + 1, this.#epochOf.length * 2));
      wider.set(this.#epochOf);
      this.#epochOf = wider;
    }
    if (this.#epochOf[node] === 0) this.#nodes.push(node);
    this.#epochOf[node] = epoch;
  }
}
