/**
 * Extents of writes through a descriptor whose position several threads move.
 *
 * The kernel tells where such a write ended only after the call, when another thread may already
 * have moved the position on: then two writes are told at one place and the place of the first is
 * told by nobody. But bytes are conserved: a write told where another one already was belongs just
 * below the run of writes before it. So the run is widened downwards by as many bytes.
 */

interface Run {
  start: number;
  end: number;
}

/** Files whose runs are remembered. An older one is forgotten when it has been quiet. */
export const runCountMax = 4096;

export class SharedPositionRuns {
  readonly #runs: Map<number, Run> = new Map();

  /** Start of what must be taken as changed for a write told as [from, to): at most `from`. */
  widen(node: number, from: number, to: number): number {
    const run = this.#runs.get(node);
    if (run === undefined) {
      this.#remember(node, { start: from, end: to });
      return from;
    }
    if (from > run.end) {
      // What lies between was perhaps written and is told later, further up: the run goes on.
      run.end = to;
      return from;
    }
    const overlap = Math.min(run.end - from, to - from);
    run.start = Math.max(0, Math.min(run.start, from) - overlap);
    run.end = Math.max(run.end, to);
    return overlap > 0 ? run.start : from;
  }

  forget(node: number): void {
    this.#runs.delete(node);
  }

  #remember(node: number, run: Run): void {
    this.#runs.delete(node);
    if (this.#runs.size >= runCountMax) this.#runs.delete(this.#runs.keys().next().value!);
    this.#runs.set(node, run);
  }
}
