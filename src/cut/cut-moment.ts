/**
 * `CutMoment`: the moment of the source that an epoch is of, by the wall clock there.
 *
 * Whoever promotes a target is told it, and may rely on it: what was done before that moment is in
 * the epoch. So it is never the time of the commit. While the round was read other files may have
 * changed, which the next epoch has; the moment is that at which the drain began that the round was
 * planned by, or, when nothing else turned out to have happened, the drain that validated it.
 *
 * In: the time at which each drain began that told all. Out: a time that is true, and no older than
 * the change before the first that the epoch lacks.
 */
export class CutMoment {
  /** All that was done before this time has been told. */
  heardMs: number;
  /** The number of the look that told it (capture/calls-under-way.ts). */
  heardLook = 0;
  /** The same of what is planned to be read. */
  plannedLook = 0;
  #ms: number;

  /** What is read from now on is of `wallMs` or later. */
  constructor(wallMs: number) {
    this.heardMs = wallMs;
    this.#ms = wallMs;
  }

  /** All that has been told is planned to be read. */
  planned(): void {
    this.#ms = this.heardMs;
    this.plannedLook = this.heardLook;
  }

  /** Only what was done before this time is planned; undefined when that is not known. */
  plannedPart(wallMs: number | undefined): void {
    if (wallMs !== undefined) this.#ms = wallMs;
  }

  /** Of the epoch that is committed now; `isAll`: nothing that was told is not in it. */
  take(isAll: boolean): number {
    if (isAll) this.#ms = this.heardMs;
    return this.#ms;
  }
}
