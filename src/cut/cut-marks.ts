/**
 * `CutMarks`: finds the epoch with which the target has everything that a moment's dirty set held.
 *
 * A mark is set when capture has been drained. What was dirty then is taken by the next plan, and
 * the epoch that ends with that plan's tasks has it:
 *
 *   set -> planned (a plan took all that was dirty) -> covered (that plan's epoch was committed)
 *
 * What a plan, or a task of it, puts back into the dirty set (a directory has just moved, a file is
 * to be read in the next epoch) may be what a mark stands for: then it waits for one plan more.
 * What capture tells meanwhile is newer than the mark and does not hold it up, so that it is
 * reached under any load.
 * Cost: a comparison for each plan and each epoch while there is none.
 * Limits: the caller's; each mark is one flush that somebody waits for.
 */

interface Mark {
  /** How often something had been put back when a plan had taken everything; -1 before. */
  putBackCount: number;
  readonly covered: (epoch: number) => void;
}

/** Of the dirty set. */
interface PutBack {
  readonly rescan: boolean;
  readonly putBackCount: number;
}

export class CutMarks {
  #marks: Mark[] = [];
  #setCount = 0;

  /** Marks that no plan has taken everything for: a plan of only a part would not help them. */
  get isAnySet(): boolean {
    return this.#setCount > 0;
  }

  /** `covered` is called, once, with the epoch with which everything dirty by now is sent. */
  set(covered: (epoch: number) => void): void {
    this.#marks.push({ putBackCount: -1, covered });
    this.#setCount++;
  }

  /** A plan has taken all that was dirty, and has put nothing off. */
  planned(putBackCount: number): void {
    if (this.#setCount === 0) return;
    for (const mark of this.#marks) if (mark.putBackCount < 0) mark.putBackCount = putBackCount;
    this.#setCount = 0;
  }

  /**
   * Its tasks are done: all of it is in this epoch, which was committed, or in an earlier one. A
   * rescan that is still to come may be of what was put back.
   */
  done(epoch: number, { rescan, putBackCount }: PutBack): void {
    if (this.#marks.length === 0 || rescan) return;
    const marks = this.#marks;
    this.#marks = [];
    this.#setCount = 0;
    for (const mark of marks) {
      if (mark.putBackCount === putBackCount) {
        mark.covered(epoch);
      } else {
        this.#marks.push({ ...mark, putBackCount: -1 });
        this.#setCount++;
      }
    }
  }

  /** Nothing is dirty and nothing is under way. */
  rested(epoch: number): void {
    if (this.#marks.length === 0) return;
    const marks = this.#marks;
    this.#marks = [];
    this.#setCount = 0;
    for (const mark of marks) mark.covered(epoch);
  }
}
