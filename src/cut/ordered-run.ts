/**
 * `OrderedRun`: the oldest changes of a dirty set, as long as they are one file written in order.
 *
 * Whoever writes a large file from its beginning to its end makes it dirty faster than it can be
 * sent. All of it at once would be one epoch, as large as the file, held by the target until it is
 * whole. But every prefix of such a run was a state of the source, too: nothing else had changed
 * when its last byte was written. So the run is sent in parts, each an epoch of its own
 * (docs/adr/0020-ordered-runs.md). A file that was cut and is then written anew is such a run, too.
 *
 * In: what the dirty set is told. Out: `from`, `to`. The kernel tells names beside the ring of
 * writes, so in one drain a name may be older than a write that was told before it: a run ends
 * where it was known to end before that drain (`mark`).
 */

/** More are not remembered: then the moment that a part is said to be of is an older one. */
export const momentCountMax = 256;

export class OrderedRun {
  /** 0 when there is none. */
  node = 0;
  from = 0;
  to = 0;
  /** The file was cut at `from` before. */
  isCut = false;
  #markedTo = 0;
  /** Where the run ended when nothing else was dirty, and when that was; both ascending. */
  #moments: { to: number; wallMs: number }[] = [];
  #isOpen = false;

  /** This file was written; `isFirst`: nothing else is dirty. */
  written(node: number, from: number, to: number, isFirst: boolean): void {
    if (isFirst) {
      this.#begin(node, from, to, false);
    } else if (node !== this.node) {
      this.#isOpen = false;
    } else if (this.#isOpen && from === this.to) {
      this.to = to;
    } else {
      this.drop();
    }
  }

  /** This file ends at `size` now, and nothing else is dirty: it may be written anew. */
  cut(node: number, size: number): void {
    this.#begin(node, size, size, true);
  }

  #begin(node: number, from: number, to: number, isCut: boolean): void {
    this.node = node;
    this.from = from;
    this.to = to;
    this.isCut = isCut;
    this.#markedTo = from;
    this.#moments = [];
    this.#isOpen = true;
  }

  /** This file's content changed in another way. */
  changed(node: number): void {
    if (node === this.node) this.drop();
    else this.#isOpen = false;
  }

  /** Something else changed, perhaps before the last of the writes told. */
  interrupted(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.to = this.#markedTo;
  }

  /**
   * A drain has ended that began at `wallMs`: what is told from now on is later than what was told
   * so far.
   */
  mark(wallMs: number): void {
    if (!this.#isOpen) return;
    this.#markedTo = this.to;
    const last = this.#moments.at(-1);
    if (last?.to === this.to) last.wallMs = wallMs;
    else if (this.#moments.length < momentCountMax) this.#moments.push({ to: this.to, wallMs });
  }

  /**
   * The part up to here has been taken. When that was all that was dirty at some moment: the latest
   * such moment.
   */
  advance(to: number): number | undefined {
    this.from = to;
    this.isCut = false;
    if (this.#markedTo < to) this.#markedTo = to;
    const later = this.#moments.findIndex((moment) => moment.to > to);
    const passed = this.#moments.splice(0, later < 0 ? this.#moments.length : later);
    return passed.at(-1)?.wallMs;
  }

  drop(): void {
    this.node = 0;
    this.from = 0;
    this.to = 0;
    this.#moments = [];
    this.#isOpen = false;
  }
}
