/**
 * `Pace`: how long a target works on a large epoch before others have their turn: the links of
 * other targets, keep-alives, whoever asks for its state, a signal.
 *
 * In: bytes of each operation as it is done. Out: whether the slice is over. The clock is looked at
 * once in a while only, and not at all by an epoch that is not large.
 */
import type { Clock } from "../world/index.ts";

export interface SliceBudget {
  /** An epoch with at least as many bytes is recorded and applied in slices. */
  readonly fromBytes: number;
  /** Work between two looks at the clock, as bytes of frames and `operationBytes` for each. */
  readonly lookBytes: number;
  /** After the first look a slice lasts as long. */
  readonly us: number;
}

export const sliceBudgetDefault: SliceBudget = {
  fromBytes: 65536,
  lookBytes: 65536,
  us: 10_000,
};

/** What one operation counts for besides its bytes: some system calls. */
const operationBytes = 1024;

export class Pace {
  readonly #clock: Clock;
  readonly #budget: SliceBudget;
  #unseenBytes = 0;
  #untilUs = 0;

  constructor(clock: Clock, budget: SliceBudget) {
    this.#clock = clock;
    this.#budget = budget;
  }

  /** A slice begins. */
  begin(): void {
    this.#unseenBytes = 0;
    this.#untilUs = 0;
  }

  /** Something of so many bytes has been done: whether the rest is for a later turn. */
  isOver(bytes: number): boolean {
    this.#unseenBytes += bytes + operationBytes;
    if (this.#unseenBytes < this.#budget.lookBytes) return false;
    this.#unseenBytes = 0;
    const nowUs = this.#clock.monotonicUs();
    if (this.#untilUs === 0) this.#untilUs = nowUs + this.#budget.us;
    return nowUs >= this.#untilUs;
  }
}
